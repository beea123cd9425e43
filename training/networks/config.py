"""What a run is made of, as YAML: strict, so that a misspelt key is one clear sentence and not a silent default.

Numbers take SPICE suffixes (``unit_current_a: 10n``). Each field's text says what it does and in which unit.
"""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from bruno_spice.devices.errors import InputError
from bruno_spice.devices.reading import short, shown
from bruno_spice.devices.registry import Registry, is_code
from bruno_spice.devices.units import parse_duration, parse_spice_number
from bruno_spice.training.dynamics import GRADIENTS
from bruno_spice.training.neurons import NEURONS
from bruno_spice.training.synapses import SYNAPSES

MOST_BITS = 8
"""Of a weight's device."""
FLOAT_BITS = 32
"""On the command line, this many bits mean float weights."""


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a number")
    try:
        return parse_spice_number(value)
    except InputError as error:
        raise ValueError(str(error)) from None


def _duration(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("must be a time")
    try:
        return parse_duration(value)
    except InputError as error:
        raise ValueError(str(error)) from None


def suffixed(value: Any) -> Any:
    """`value` with every text in it that is a number, such as ``10n``, as that number."""
    if isinstance(value, dict):
        return {key: suffixed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [suffixed(inner) for inner in value]
    try:
        return parse_spice_number(value) if isinstance(value, str) else value
    except InputError:
        return value  # a word


Number = Annotated[float, BeforeValidator(_number)]
Duration = Annotated[float, BeforeValidator(_duration)]
"""In s; with a unit such as ``10ms``, ``1h``, ``1d``."""
Options = Annotated[dict[str, Any], BeforeValidator(suffixed)]
"""Keyword arguments, their numbers with SPICE suffixes if need be."""
Decay = Annotated[float, Field(ge=0, lt=1)]
MOST = 1_000_000
"""Of anything that is counted: more is a slip, which would fill the memory before it is noticed."""


def _known(registry: Registry[Any], *others: str) -> AfterValidator:
    """A check for one of `others`, a name in `registry`, or code, which is not run."""

    def check(name: str) -> str:
        try:
            return name if name in others else registry.check(name)
        except InputError as error:
            raise ValueError(str(error)) from None

    return AfterValidator(check)


OF_OWN = (
    "own",
    "options",
    "batch_first",
    "neuron",
    "recurrent",
    "unit_current_a",
    "weight_std",
    "recurrent_std",
    "bias_std",
)
"""Keys of ``network`` that say something to a network of one's own."""
Feature = Literal["spikes", "trace", "voltage"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NetworkConfig(_Strict):
    """Layers between input and logits."""

    hidden: list[Annotated[int, Field(ge=1, le=MOST)]] = Field(default=[200], min_length=1, max_length=100)
    """Neurons of each hidden layer."""
    own: str | None = None
    """Your own network as ``file.py:Class`` in the place of all these layers; ``network: file.py:Class`` is short for
    it. Of the other keys, it takes `options`, `batch_first` and what `parts` hands on: neuron, recurrent,
    unit_current_a, weight_std, recurrent_std, bias_std."""
    options: Options = Field(default_factory=dict)
    """Keyword arguments of your own network."""
    batch_first: bool = False
    """Whether your own network takes and gives the batch first, (B, T, ...)."""
    neuron: Annotated[str, _known(NEURONS)] = "felif"
    """``felif``, ``heracles``; rivals ``lif``, ``rlif`` (a recurrent ``lif``), ``adaptive-lif`` (a threshold that rises
    with spikes), ``current-lif`` (a synaptic time constant), ``learned-lif`` (trained time constants), ``gru`` or
    ``lstm`` (torch's, with the same readout); or your own as ``file.py:Layer``."""
    recurrent: bool | None = None
    """Whether spikes come back to their own layer a millisecond later; by default so for neuron models (felif, or
    your own). An rlif always is."""
    readout: list[Feature] = Field(default=["spikes", "trace", "voltage"], min_length=1, max_length=3)
    """What the output layer reads of the last hidden layer."""
    input_skip: bool = True
    """Whether the output layer reads the input too."""
    output_neuron: Annotated[str, _known(NEURONS, "none")] = "none"
    """Neuron behind the output weights, as `neuron`, or ``none``; its trace of spikes and its voltage make the
    logits."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """On what the output layer reads of the hidden layer."""
    dropout_whole: bool = False
    """Whether a mask of `dropout` holds for a whole sequence; else each frame has its own."""
    input_dropout: float = Field(default=0.0, ge=0, lt=1)
    """On the input of the hidden layer and of the skip."""
    unit_current_a: Number = Field(default=10e-9, gt=0)
    """Synaptic current of a unit weight in A."""
    weight_std: float = Field(default=0.5, gt=0)
    """Standard deviation of the first input weights; deeper layers scale it by sqrt(10 / inputs)."""
    recurrent_std: float = Field(default=0.3, ge=0)
    """Standard deviation of the recurrent weights, times 1 / sqrt(neurons)."""
    bias_std: float = Field(default=0.0, ge=0)
    """Standard deviation of the hidden biases."""
    trace_tau_steps: float = Field(default=5.0, ge=0.05, le=MOST)
    """Start value of the learned time constant of the trace, in macro steps."""
    input_stages: int = Field(default=0, ge=0, le=100)
    """Stages of an RC ladder on every input line, each a channel of its own; 0: the input itself."""
    input_tau_steps: float = Field(default=4.0, ge=1, le=MOST)
    """Time constant of a stage in macro steps."""
    readout_windows: int = Field(default=1, ge=1, le=1000)
    """The output layer reads with other weights in each of so many windows of time; the last has no end."""
    window_steps: int = Field(default=32, ge=1, le=MOST)
    """Macro steps of a window."""
    readout_gain: float = Field(default=1.0, gt=0)
    """What the features are multiplied with before the output weights."""
    output_bias: float = 0.0
    """Start value of the output biases (log odds)."""

    @model_validator(mode="before")
    @classmethod
    def _own(cls, network: Any) -> Any:
        return {"own": network} if isinstance(network, str) else network

    @model_validator(mode="after")
    def _one_network(self) -> Self:
        if self.own is None:
            if self.options or self.batch_first:
                raise ValueError("options and batch_first are those of a network of your own; name it in own")
            return self
        if self.own.endswith(".nir"):
            raise ValueError(
                "a NIR graph cannot be trained here: its nodes are ideal neurons and weights, none of them a "
                "ferroelectric membrane or a device with levels; write the network as file.py:Class"
            )
        if not is_code(self.own):
            raise ValueError(f"a network of your own is file.py:Class, not {shown(self.own)}")
        default = NetworkConfig()
        for name in type(self).model_fields:
            if name not in OF_OWN and getattr(self, name) != getattr(default, name):
                raise ValueError(f"{name} says nothing to a network of your own; give it as one of options")
        return self

    @property
    def is_recurrent(self) -> bool:
        """`recurrent`, or what the neuron takes by default; ``rlif`` always is."""
        return NEURONS.find(self.neuron).feeds_back(self.recurrent)


class NeuronConfig(_Strict):
    """The FeLIF neuron and its gradient; `training.neurons.felif.FeLIF` says what each means."""

    card: str = "calibrated"
    """``calibrated``, ``published``, or the path of a card."""
    values: dict[str, Number] = Field(default_factory=dict)
    """Parameters of the card to replace, by name, in SI units, such as {v_threshold: 2.0}."""
    gradient: Annotated[str, _known(GRADIENTS)] = "bruno"
    """``bruno``, ``bruno-published``, ``tangent``, ``bptt``, ``checkpoint``, ``coarse``
    (`training.dynamics.gradients`), or your own as ``file.py:GRADIENT``."""
    spread: Literal["none", "card", "fit_ambiguity"] | dict[str, Number] = "none"
    """How the neurons' devices differ: not at all, by the card's variability, or by relative standard deviations of
    named parameters. ``fit_ambiguity`` draws what the fit leaves open (the card's covariance) instead: no spread of
    devices, but what a network makes of not knowing them better. Drawn with the weights' devices
    (synapse.redraw_every)."""
    train: dict[str, tuple[Number, Number] | None] = Field(default_factory=dict)
    """Card parameters to train beside the weights, one value for all neurons: their names, as [area, leak_discharge],
    or each with its bounds in SI units, as {area: [20p, 30p]}. One of the domains without its number, such as
    activation_field, moves in all of them by one factor; its bounds are the first one's."""
    train_within: Number = Field(default=1.2, gt=1, le=100)
    """Factor around the card's value within which those stay that have no bounds of their own."""
    train_rate: Number = Field(default=3e-3, gt=0, le=1)
    """Learning rate of their logarithms; the schedule is that of the weights."""
    options: Options = Field(default_factory=dict)
    """Further keyword arguments of the neuron: solver, surrogate, ...; those of FeLIF alone do not concern a LIF."""

    @field_validator("train", mode="before")
    @classmethod
    def _names(cls, train: Any) -> Any:
        return dict.fromkeys(train) if isinstance(train, list) and all(isinstance(n, str) for n in train) else train

    @field_validator("spread", mode="before")
    @classmethod
    def _no_covariance(cls, spread: Any) -> Any:
        if spread == "covariance":
            raise ValueError(
                "'covariance' is now called fit_ambiguity: it is what the fit leaves open, not how devices differ "
                "(that is spread: card)"
            )
        return spread


class AgeRange(_Strict):
    """From one age to another; ``[1s, 1d]`` says the same."""

    low: Duration = Field(gt=0)
    high: Duration = Field(gt=0)

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, ages: Any) -> Any:
        return dict(zip(("low", "high"), ages, strict=True)) if isinstance(ages, list) and len(ages) == 2 else ages

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low must not lie above high, {self.low:g} s above {self.high:g} s")
        return self


class SynapseConfig(_Strict):
    """The weights."""

    kind: Annotated[str, _known(SYNAPSES)] = "rram"
    """``rram``: filaments of the card; ``measured``: cells of a card that `bruno fit rram` made; ``uniform``: the
    quantiser of Fehlings et al.; ``float``: as torch has them; or your own as ``file.py:Device``."""
    card: str = "calibrated"
    """``calibrated`` or the path of a card."""
    bits: int = Field(default=3, ge=1, le=MOST_BITS)
    """2**bits levels a device (rram, measured), or a weight (uniform)."""
    scheme: Literal["differential", "offset"] = "differential"
    """Two devices a weight, or one against a reference column."""
    rounding: Literal["nearest", "stochastic"] = "nearest"
    clip: float | None = Field(default=3.0, gt=0)
    """Full scale of the weights in units of their rms; none: the largest weight."""
    spread: bool = True
    """Whether each device has its own filament."""
    spread_cut: float = Field(default=2.0, gt=0)
    """Filaments lie within so many of the card's sigmas; at 2, the box of the calibration, 88 % of them remain."""
    read_noise: bool = True
    """Whether each reading of a device is noisy."""
    read_noise_in_eval: bool = True
    """Whether it is so in validation and test too, or in training only."""
    age_s: Duration = Field(default=0.0, ge=0)
    """Time since the devices were written, such as 3600 or 1h; for devices of which it is known how they change."""
    after: AgeRange | None = None
    """In training, draw that time anew in each pass, evenly in its logarithm, as {low: 1s, high: 1d}; scores are those
    at age_s."""
    options: Options = Field(default_factory=dict)
    """Keyword arguments of weights or devices: those of your own, and verify of measured ones, which says whether they
    are verified when written."""
    redraw_every: int | None = Field(default=None, ge=1, le=MOST)
    """Draw new devices every so many updates; none: one chip for the whole run."""


class TrainingConfig(_Strict):
    """The optimiser and when it stops."""

    epochs: int = Field(default=16, ge=1, le=MOST)
    """Passes over the training part."""
    batch_size: int = Field(default=16, ge=1, le=MOST)
    """Sequences an update."""
    optimizer: Literal["adamw", "adamax"] = "adamw"
    """torch's, by name."""
    learning_rate: Number = Field(default=4e-3, gt=0, le=1e3)
    """At the start."""
    betas: tuple[Decay, Decay] = (0.9, 0.99)
    """Decay of the optimiser's two running averages."""
    weight_decay: Number = Field(default=1e-4, ge=0)
    """Share of a weight that an update takes off, in units of the learning rate."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """How the learning rate goes on."""
    final_fraction: float = Field(default=0.05, ge=0, le=1)
    """Of the learning rate, at the end of a cosine schedule."""
    gradient_clip: float | None = Field(default=1.0, gt=0)
    """Largest norm of the gradient of all weights together."""
    most_broken_updates: int = Field(default=20, ge=1)
    """Updates in one epoch whose gradient is not finite before training gives up."""
    broken_updates: Literal["leave_out", "rescale"] = "leave_out"
    """What becomes of one: left out, or applied with its largest value brought to 1, whatever that is worth."""
    average_decay: float = Field(default=0.0, ge=0, lt=1)
    """Share of the running average of the weights that an update keeps (such as 0.99). The average is what is validated
    and kept; 0: the weights themselves."""
    patience: int | None = Field(default=None, ge=1)
    """Epochs without a better validation score before training stops; none: never."""
    length_jitter: int = Field(default=12, ge=0, le=MOST)
    """Sequences of like length go together; like means within this many steps."""


class RunConfig(_Strict):
    """One training run."""

    task: str = "chorales"
    """chorales, braille7, braille27, oxford (precise spikes), delayed_match and pulses (made up), or your own as
    ``file.py:function``."""
    task_options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the task, for example `trials` of `training/tasks/own_example.py`."""
    seed: int = Field(default=0, ge=0)
    """Same seed, same numbers: weights, devices, dropout and the order of sequences."""
    device: str = "cpu"
    """Where torch computes: cpu or cuda."""
    threads: int = Field(default=1, ge=1, le=1024)
    """Processor threads. More than one pays for wide layers only, and costs dearly where other work needs the cores."""
    network: NetworkConfig = Field(default_factory=NetworkConfig)
    neuron: NeuronConfig = Field(default_factory=NeuronConfig)
    synapse: SynapseConfig = Field(default_factory=SynapseConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)

    def with_values(self, **values: Any) -> "RunConfig":
        """A copy with values replaced, checked anew; nested keys are joined by two underscores."""
        return self.with_settings({key.replace("__", "."): value for key, value in values.items()}, "options")

    def with_settings(self, settings: Mapping[str, Any], where: str) -> "RunConfig":
        """A copy with dotted keys replaced, checked anew; `where` names their origin in messages.

        Raises `InputError`, and `KeyError` for a section that there is not.
        """
        raw = self.model_dump()
        for key, value in settings.items():
            *path, last = key.split(".")
            place: Any = raw
            for depth, part in enumerate(path, 1):
                place = place[part]
                if not isinstance(place, dict):
                    whole = ".".join(path[:depth])
                    raise InputError(f"{key}: {whole} is {place!r} and has no keys; set it whole")
            place[last] = value
        return parse_config(raw, where)

    def to_yaml(self) -> str:
        """The configuration as YAML, every value written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def parse_config(raw: dict[str, Any], where: str) -> RunConfig:
    """Check `raw`; `where` names its origin in messages. Raises `InputError`."""
    try:
        return RunConfig.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{where}: {sentence(error, RunConfig)}") from None


def sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong first with the input of `model`, a misspelt key before all: the key, the reason and the value."""
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    key = ".".join(map(short, first["loc"]))
    if first["type"] == "extra_forbidden":
        known = _known_keys(model, [str(part) for part in first["loc"][:-1]])
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        return f"unknown key '{key}'; " + (f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}")
    reason = short(first.get("ctx", {}).get("error", first["msg"]), 500)
    told = isinstance(first["input"], dict) or repr(first["input"]) in reason
    value = "" if told else f" (it is {shown(first['input'])})"
    return f"{key}: {reason}{value}" if key else reason


def _known_keys(model: Any, path: list[str]) -> list[str]:
    for part in path:
        model = get_args(model)[1] if get_origin(model) is dict else model.model_fields[part].annotation
        if get_origin(model) is not dict:  # of "this or none", this
            model = next((each for each in get_args(model) if hasattr(each, "model_fields")), model)
    return list(model.model_fields)

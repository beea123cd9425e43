* seven circuits whose answers are known
.option post=2 probe reltol=1e-5
.param tau='1u' gm='2m/2'   $ expressions in quotes
V1 step gnd! PWL 0 0 10n 1
R1 step rc 1k
C1 rc 0 'tau/1k'
V2 n1 0 DC=10 AC=1
R2 n1 mid 4.7k
R3 mid GND 2.35k
I1 0 ring PWL(0 0 10n 1m)
L1 ring 0 1m
C2 ring 0 1n
V3 ramp 0 PWL(0 0 10u 2
+ 20u -1)
R4 ramp 0 1x
G1 0 vc ramp 0 'gm'
R5 vc 0 2k
E1 expr 0 VOL='v(ramp)>0.5 ? v(ramp)**3 : max(min(v(ramp),1),-0.5)/4'
R6 expr e2 1k
G2 e2 0 CUR='v(ramp)*1m'
X1 n1 div halves r=3k
.subckt halves in out r=1
R1 in out r
R2 out 0 'r/2'
.ends halves
.measure tran top max v(rc)
.tran 10n 30u start=0
.end

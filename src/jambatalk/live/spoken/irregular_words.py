"""Common English words that are not read as they are written."""

_LINES = """
a AH
the DH AH
of AH V
to T UW
and AH N D
i AY
you Y UW
your Y AO R
yours Y AO R Z
yourself Y ER S EH L F
you're Y UH R
you've Y UW V
you'll Y UW L
you'd Y UW D
we're W IY R
we've W IY V
we'll W IY L
i'm AY M
i've AY V
i'll AY L
i'd AY D
he HH IY
he's HH IY Z
she's SH IY Z
it's IH T S
that's DH AE T S
there's DH EH R Z
they're DH EH R
they've DH EY V
they'll DH EY L
what's W AH T S
let's L EH T S
don't D OW N T
won't W OW N T
can't K AE N T
aren't AA R N T
isn't IH Z AH N T
wasn't W AA Z AH N T
weren't W ER N T
doesn't D AH Z AH N T
didn't D IH D AH N T
couldn't K UH D AH N T
wouldn't W UH D AH N T
shouldn't SH UH D AH N T
haven't HH AE V AH N T
hasn't HH AE Z AH N T
hadn't HH AE D AH N T
is IH Z
was W AA Z
as AE Z
his HH IH Z
has HH AE Z
have HH AE V
having HH AE V IH NG
are AA R
were W ER
been B IH N
being B IY IH NG
do D UW
does D AH Z
done D AH N
doing D UW IH NG
who HH UW
whom HH UW M
whose HH UW Z
whole HH OW L
what W AH T
where W EH R
there DH EH R
here HH IH R
their DH EH R
theirs DH EH R Z
they DH EY
them DH EH M
then DH EH N
than DH AE N
this DH IH S
that DH AE T
these DH IY Z
those DH OW Z
thus DH AH S
though DH OW
although AO L DH OW
through TH R UW
throughout TH R UW AW T
thought TH AO T
tough T AH F
rough R AH F
enough IH N AH F
cough K AO F
laugh L AE F
laughs L AE F S
laughed L AE F T
laughing L AE F IH NG
laughter L AE F T ER
daughter D AO T ER
one W AH N
ones W AH N Z
once W AH N S
none N AH N
two T UW
four F AO R
eight EY T
eighty EY T IY
hundred HH AH N D R AH D
thousand TH AW Z AH N D
million M IH L Y AH N
billion B IH L Y AH N
trillion T R IH L Y AH N
any EH N IY
many M EH N IY
anything EH N IY TH IH NG
anyone EH N IY W AH N
anybody EH N IY B AA D IY
someone S AH M W AH N
everyone EH V R IY W AH N
every EH V R IY
everything EH V R IY TH IH NG
everybody EH V R IY B AA D IY
nothing N AH TH IH NG
something S AH M TH IH NG
some S AH M
come K AH M
comes K AH M Z
coming K AH M IH NG
become B IH K AH M
becomes B IH K AH M Z
other AH DH ER
others AH DH ER Z
both B OW TH
from F R AH M
for F AO R
only OW N L IY
over OW V ER
open OW P AH N
into IH N T UW
onto AA N T UW
upon AH P AA N
very V EH R IY
ever EH V ER
never N EH V ER
seven S EH V AH N
said S EH D
says S EH Z
again AH G EH N
against AH G EH N S T
because B IH K AO Z
people P IY P AH L
woman W UH M AH N
women W IH M AH N
child CH AY L D
children CH IH L D R AH N
friend F R EH N D
friends F R EH N D Z
friendly F R EH N D L IY
work W ER K
world W ER L D
word W ER D
great G R EY T
break B R EY K
breakfast B R EH K F AH S T
steak S T EY K
heart HH AA R T
height HH AY T
either IY DH ER
neither N IY DH ER
foreign F AO R AH N
give G IH V
gives G IH V Z
given G IH V AH N
giving G IH V IH NG
live L IH V
lives L IH V Z
lived L IH V D
living L IH V IH NG
love L AH V
move M UW V
water W AO T ER
want W AA N T
father F AA DH ER
mother M AH DH ER
son S AH N
won W AH N
month M AH N TH
months M AH N TH S
money M AH N IY
honey HH AH N IY
monkey M AH NG K IY
front F R AH N T
ton T AH N
tongue T AH NG
young Y AH NG
country K AH N T R IY
touch T AH CH
trouble T R AH B AH L
group G R UW P
soup S UW P
route R UW T
shoe SH UW
shoes SH UW Z
lose L UW Z
loose L UW S
blood B L AH D
flood F L AH D
foot F UH T
feet F IY T
good G UH D
put P UH T
push P UH SH
full F UH L
pull P UH L
sugar SH UH G ER
sure SH UH R
busy B IH Z IY
business B IH Z N AH S
build B IH L D
built B IH L T
buy B AY
guy G AY
eye AY
eyes AY Z
hour AW ER
hours AW ER Z
our AW ER
ours AW ER Z
honest AA N AH S T
honor AA N ER
island AY L AH N D
listen L IH S AH N
castle K AE S AH L
answer AE N S ER
sword S AO R D
muscle M AH S AH L
science S AY AH N S
scientist S AY AH N T IH S T
iron AY ER N
idea AY D IY AH
area EH R IY AH
real R IY L
really R IH L IY
create K R IY EY T
created K R IY EY T IH D
beautiful B Y UW T AH F AH L
minute M IH N AH T
minutes M IH N AH T S
machine M AH SH IY N
police P AH L IY S
ocean OW SH AH N
school S K UW L
stomach S T AH M AH K
ache EY K
echo EH K OW
choir K W AY ER
chaos K EY AA S
recipe R EH S AH P IY
cafe K AH F EY
coffee K AO F IY
hello HH AH L OW
ok OW K EY
okay OW K EY
mama M AA M AH
papa P AA P AH
pizza P IY T S AH
video V IH D IY OW
audio AO D IY OW
radio R EY D IY OW
computer K AH M P Y UW T ER
python P AY TH AA N
english IH NG G L IH SH
europe Y UH R AH P
german JH ER M AH N
chinese CH AY N IY Z
japanese JH AE P AH N IY Z
wednesday W EH N Z D EY
february F EH B Y AH W EH R IY
january JH AE N Y UW EH R IY
half HH AE F
talk T AO K
walk W AO K
could K UH D
would W UH D
should SH UH D
above AH B AH V
about AH B AW T
ago AH G OW
away AH W EY
also AO L S OW
always AO L W EY Z
already AO L R EH D IY
almost AO L M OW S T
another AH N AH DH ER
anger AE NG G ER
angry AE NG G R IY
body B AA D IY
copy K AA P IY
city S IH T IY
cover K AH V ER
color K AH L ER
dead D EH D
death D EH TH
does D AH Z
door D AO R
floor F L AO R
poor P UH R
doubt D AW T
debt D EH T
earth ER TH
even IY V AH N
evening IY V N IH NG
favorite F EY V R AH T
figure F IH G Y ER
fruit F R UW T
fuel F Y UW AH L
get G EH T
gets G EH T S
getting G EH T IH NG
together T AH G EH DH ER
girl G ER L
general JH EH N ER AH L
human HH Y UW M AH N
ice AY S
image IH M AH JH
july JH UH L AY
language L AE NG G W AH JH
learn L ER N
measure M EH ZH ER
pleasure P L EH ZH ER
treasure T R EH ZH ER
music M Y UW Z IH K
nature N EY CH ER
ought AO T
own OW N
pretty P R IH T IY
private P R AY V AH T
promise P R AA M AH S
purpose P ER P AH S
quite K W AY T
quiet K W AY AH T
read R IY D
reading R IY D IH NG
receipt R IH S IY T
review R IY V Y UW
says S EH Z
second S EH K AH N D
sign S AY N
social S OW SH AH L
special S P EH SH AH L
soul S OW L
spirit S P IH R AH T
state S T EY T
story S T AO R IY
study S T AH D IY
system S IH S T AH M
television T EH L AH V IH ZH AH N
today T AH D EY
tomorrow T AH M AA R OW
tonight T AH N AY T
toward T AH W AO R D
united Y UW N AY T IH D
use Y UW Z
user Y UW Z ER
usual Y UW ZH AH W AH L
usually Y UW ZH AH W AH L IY
value V AE L Y UW
weird W IH R D
zero Z IH R OW
"""

IRREGULAR: dict[str, str] = {word: " ".join(phones) for word, *phones in (line.split() for line in _LINES.split("\n") if line)}
"""Word -> its phones, the CMU dictionary's symbols without stress."""

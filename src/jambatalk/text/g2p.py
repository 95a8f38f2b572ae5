"""The English pronunciation dictionary that comes with pocketsphinx (the extra ``align``), when it is installed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def dictionary() -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """Word in lower case -> its pronunciations, the most usual first, in ARPAbet without stress; empty without it."""
    try:
        from pocketsphinx import get_model_path

        text = Path(get_model_path("en-us/cmudict-en-us.dict")).read_text("utf-8", "ignore")
    except (ImportError, OSError):
        return {}
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in text.splitlines():
        word, _, phones = line.partition(" ")
        # Further pronunciations of a word carry a number in brackets.
        found.setdefault(re.sub(r"\(\d+\)$", "", word), []).append(tuple(phones.split()))
    return {word: tuple(ways) for word, ways in found.items()}


# How English letters are read: rules in order, the first that fits wins.
#
# A line is ``left|letters|right|phones``: ``letters`` at the current place, when what precedes them ends with ``left`` and what
# follows begins with ``right`` (regular expressions on the rest of the word), become ``phones`` (the CMU dictionary's symbols; none
# for silent letters). C is a consonant letter, V a vowel letter, S "the word has had a vowel before, then a consonant", E the end
# of a word whose silent e makes the vowel before its consonant long.


SHORTHAND = {
    "C": "[bcdfghjklmnpqrstvwxz]",
    "V": "[aeiouy]",
    "S": "[aeiouy].*[bcdfghjklmnpqrstvwxz]",
    "E": "(?:th|[bcdfgjklmnpqrstvwz])(?:e|es|ed|er|ers|ing|ings|ely|eless|eful|ement|ements|able)$",
}
"""What the capital letters of a rule stand for."""

RULES = """
|augh||AO
|au||AO
|aw||AO
|ayer||EY ER
|ay||EY
|air||EH R
rt|ain|s?$|AH N
unt|ain|s?$|AH N
(?:pt|rg|ll|rit)|ain|s?$|AH N
|ai||EY
|ae||IY
|are|(?:s|d|ful|less|ly)?$|EH R
S|ary|$|EH R IY
S|ari|(?:ly|es)|EH R AH
|arr|V|EH R
w|ar|(?:d|ds|ded|m|n|p|t)|AO R
qu|ar||AO R
S|ar|(?:d|ds|s|ly)?$|ER
S|ward|s?$|W ER D
|ar|V|EH R
|ar||AA R
S|ally|$|AH L IY
S|al|(?:s|ism|ist|ists|ity|ize|ized)?$|AH L
|all|(?:$|[sei])|AO L
|al|k|AO
|al|[dt]|AO L
|alf||AE F
|alm||AA M
wh|a|t|AH
w|a|(?:[stnd]|lk|llo|llet|lr|ter|sh|tch)|AA
qu|a|[lnd]|AA
S|able|(?:s|d)?$|AH B AH L
|able|(?:s|d)?$|EY B AH L
S|ably|$|AH B L IY
|abil||AH B IH L
S|age|(?:s|d|r|rs)?$|IH JH
S|aging|$|IH JH IH NG
S|ately|$|AH T L IY
|ation||EY SH AH N
S|ative||AH T IH V
(?:rf|al|rn|en|err)|ace|s?$|AH S
|a|nge|EY
|a|stes?$|EY
|a|sted$|EY
^(?:C|qu)*|a|E|EY
V.*|a|[tdckzlpgv]e[sd]?$|EY
V.*|a|t(?:ing|or|ors)$|EY
|a|[bcdfgpt]les?$|EY
|a|(?:ci|ti|si|gi)[aoe]|EY
^C*|a|(?:C|th)(?:y|ies?|or|ors|ers?|ous|ure|ures|ured|ive|ives|o|os|ient|ency|al|us|um|a|ian|i[ao].*)$|EY
^|a|(?:b[ao]|bri|cro|fr[ae]|ga|go|gr[ei]|lo[nu]|li[kv]|ma[sz]|mo[nu]|mu[s]|pa[r]|ro[uws]|ris|wa|wo|wh|he|sle|si[d]|shor|dd[ri]|cc|ff[eo]|pp[reo]|tt[aer]|ss[eu]|nn[o]|rr[aei]|ll[o])|AH
S|an|(?:s|t|ts|ce|ces|cy|tly|d|ds)?$|AH N
S|as|$|AH Z
S|ast|$|AE S T
S|a|$|AH
|a|$|AH
|aa||AA
|ah|$|AA
|ao||AW
S|a|CV|AH
|a||AE

m|b|s?$|
m|b|(?:ed|ing)$|
|bb||B
e|b|t$|
u|b|t$|
|b||B

|cqu||K W
|cc|[eiy]|K S
|cc||K
|ch|[rln]|K
^|ch|(?:aos|or|em|ar[ai]c|oir)|K
|ch|(?:o$|oes|oed|an[i]|nic|nol|itect|em|os)|K
a|ch|e[ds]?$|K
|cz||CH
|ch||CH
|ck||K
|cia|(?:l|n)|SH AH
|ci|(?:ous|en[ct])|SH
^mi|c|r|K
|c|[eiy]|S
|c||K

|dd||D
|dg|e|JH
|dg||JH
|dj||JH
|d|u(?:al|le|ca)|JH
|d|t$|
|d||D

^C+|e|$|IY
S|e|$|
V|e|$|
^C*|eye||AY
|eer||IH R
|ee||IY
^(?:b|p|w|sw|t)|ear|(?:s|ing|er)?$|EH R
h|ear|t|AA R
|ear|(?:th|n|ly|ch|l|s[et])|ER
|ear||IH R
|ea|the|IY
|ea|(?:d|ds|dy|dly|ded|ding|den|der)$|EH
|ea|(?:th|lth|sur|nt|ven|ther|pon|sant|vy|lous)|EH
b|eau|t|Y UW
|eau||OW
r|ea|[tl]|IY AE
|ea||IY
|eigh||EY
|eign||EY N
[clsz]|ei||IY
|ei|(?:ve|ze|r|d)|IY
|ei||AY
|eo||IY AH
[rljst]|eu||UW
|eur||ER
|eu||Y UW
(?:[rljdtnsh])|ew||UW
|ew||Y UW
^C+|ey||EY
|ey||IY
|err|V|EH R
|ere|(?:s|ly)?$|IH R
|er|i[aoue]|IH R
^C*|er|o$|IH R
^C*|er|V|EH R
|er|V|ER
|er||ER
V.*[td]|ed|$|IH D
V.*(?:[pkfxc]|ss|sh|ch|[ln]s)|ed|$|T
V.*C|ed|$|D
V.*[iy]|ed|$|D
V.*(?:[szxcg]|ch|sh)|es|$|IH Z
V.*[ptkf]|es|$|S
V.*C|es|$|Z
V.*C|e|(?:ly|ment|ments|ful|fully|less|ness|some|ways?|where|thing|body)$|
S|en|(?:s|ed|ing)?$|AH N
S|en|(?:ts?|ce|ces|cy|tly|ced|ted|tial|tly)$|AH N
S|el|(?:s|ed|ing|y)?$|AH L
[iy]|est|$|AH S T
S|est|$|AH S T
S|et|s?$|AH T
n|ess|(?:es)?$|AH S
l|ess|(?:ly|ness)?$|AH S
|ement|s?$|M AH N T
^|e|(?:l[eoiau]|v[eoa](?!r[yn])|m[oei]|n[oa]|r[auo]|qui|xis)|IH
^|ex|[aeiouh]|IH G Z
^|ex|[cptqcls]|IH K S
^(?:b|d|r)|e|(?![bcdfghlmnpqstvw]y$)(?:([cdfghlmnpqstvw])(?!\\1)|pl|pr|tr|gr|gl|fr|fl|cl|cr|sp|st|dr|br)[aeiou]|IH
^pr|e|[cdfpstv][aeou]|IY
|e|[tdsz]e[sd]?$|IY
|e|(?:n|m|v|k|p|c|b)es?$|IY
|e|t(?:ed|ing)$|IY
^C*|e|(?:gal|qua|ven$|vil|cent|male|ga|dia|ta|nus|go$|bra|cr|tr|qu)|IY
|e|(?:ti|si|ci)(?:on|ous|al)|IY
|e|[aiou]|IY
S|e|CV|AH
|e||EH

|ff||F
|f||F

^|gh||G
|ght||T
|gh||
^|gn||N
|gn|(?:s|ed|ing|er|ment)?$|N
|gg||G
|gu|[ei]|G
|gue|s?$|G
^|g|(?:e[t]|ea|i[vrfgl]|ee[sk])|G
(?:be|to|for)|g|[ei]|G
[dtn]i|g|ers?$|G
r|g|et|G
fin|g|er|G
^an|g|[er]|G
|g|[eiy]|JH
|g||G

^|h||HH
r|h||
x|h||
|h|[aeiouy]|HH
|h||

^|i|$|AY
|igh||AY
|ign|(?:s|ed|er|ers|ing|ment)?$|AY N
^C*|ie|$|AY
^C*|ied|$|AY D
^C*|ies|$|AY Z
|ie|$|IY
|ied|$|IY D
|ies|$|IY Z
|ier|$|IY ER
|iers|$|IY ER Z
|iest|$|IY AH S T
|iew||Y UW
|ie|n[ct]|IY AH
|ie|t|AY AH
|ie||IY
|ing|s?$|IH NG
^C*|i|nds?$|AY
^C*|i|nd(?:er|ers|ing|ly|ness|ful)$|AY
|i|lds?$|AY
|ir|e[sd]?$|AY
|ire|(?:s|d|ment|ments|less)?$|AY ER
|iring|$|AY R IH NG
(?:ch|z|as|ar|ol|ut|al|el)|i|nes?$|IY
(?:eng|med.*c|g|d|imag|determ|exam|fem.*n|mascul)|i|ne[sd]?$|IH
S|i|ve(?:s|ly|ness)?$|IH
S|i|ces?$|IH
S|i|t(?:ed|ing|or|ors|er)$|AH
S|i|n(?:ed|ing|er)$|AH
S|i|ty$|AH
S|ic|(?:s|al|ally)?$|IH K
|i|ques?$|IY
|i|gues?$|IY
|i|E|AY
S|i|[stzdlnmkp]e(?:s|d)?$|AY
^C*|i|[dlmnpstb](?:al|us|or|ors|ent|ents|ence|er|ers|y|o|ot|ots|on|ation|ate)$|AY
^C*|i|(?:a$|a[lnr]|o|et)|AY
|i|(?:ty|sh|ti|si|ci|fy)|IH
|ious||IY AH S
|iou||IY AH
|ia||IY AH
|io|$|IY OW
|io|n|IY AH
|io||IY OW
|iu||IY AH
|irr||IH R
|ir|V|IH R
|ir||ER
|ism|s?$|IH Z AH M
|i|$|IY
|i|fy|AH
S|i|CV|AH
|i||IH

|j||JH

^|kn||N
|kh||K
k|k||
|k||K

C|le|$|AH L
C|les|$|AH L Z
C|led|$|AH L D
|ll||L
|l||L

^|mc||M AH K
|mm||M
|mn|$|M
|m||M

|nn||N
|ng|(?:$|s$|ed$|ing|ers?$|s?man|ly$|less)|NG
ro|n|g|NG
lo|n|g|NG
|ng|th|NG K TH
|n|g[aoulr]|NG
|nk||NG K
|n|(?:qu|c[ltr]?[aou]|x|ct)|NG
|n||N

|ough|t|AO
[aeiou].*r|ough||OW
|ough|$|OW
|oor||AO R
|ook||UH K
(?:w|h|st|g)|ood||UH D
|oo||UW
|ould||UH D
|oun||AW N
S|ous|(?:ly|ness)?$|AH S
^C*|our|(?:s|ed|ly)?$|AW ER
S|our|(?:s|ed|ing|ite|able)?$|ER
j|our||ER
|our||AO R
|ou|(?:p|te|th$)|UW
|ou|(?:bl|pl|ntry|sin|ng|ch)|AH
|ou|thern|AH
s|oul||OW L
|ou||AW
|oyer||OY ER
|oy||OY
|oi||OY
|oar||AO R
|oa||OW
|oes|$|OW Z
|oe||OW
|ower||AW ER
(?:kn|gr|sh|thr|fl|bl|sl|sn|[aeiouy].*C)|ow||OW
^(?:l|m|t|st|m|r|cr|gl)|ow|(?:$|[eist])|OW
|ow|n|AW
|ow||AW
S|ory|$|AO R IY
S|or|s?$|ER
|ore|(?:s|d)?$|AO R
w|or|(?:d|k|l|m|th|s[et]|ry)|ER
|orr|V|AA R
S|or|(?:al|ous|ity|iz)|ER
S|or|(?:ed|ing)$|ER
|or||AO R
|oll|(?:s|ed|ing|er)?$|OW L
|ol|[dkt]|OW L
^(?:m|p|h|gh)|o|st|OW
|other||AH DH ER
|oth||AO TH
|o|ny|AH
S|on|(?:s|ed|ing|al|ally|er|ers|ary|ist|ists)?$|AH N
S|om|$|AH M
S|ot|s?$|AH T
S|some|$|S AH M
(?:m|pr)|ove|(?:s|d|ment|ments|r)?$|UW V
(?:m|pr)|oving|$|UW V IH NG
^(?:l|d|gl|sh|ab)|ov|e|AH V
c|over||AH V ER
|o|x|AA
|o|E|OW
S|o|[nsptkdlzrc]e[sd]?$|OW
|o|$|OW
|os|$|OW Z
|o|(?:ti|si|ci|ca)(?:on|ous|al)|OW
^t|o|(?:day|night|morr|geth|ward)|AH
^c|on|(?:fi[rd]|fu|si[ds]|ce|cl|d[ui]|gra|n|qu|s[eiu]|t[aei]|tr[io]|v[ei])|AH N
^c|om|(?:p[aleu]|mu|mi|bi)|AH M
^pr|o|(?:vi[ds]|du|te|fe|po|mo|nou|ce[de])|AH
^C*|o|C(?:y|ies|ic|ics|id|ids|it|its|el|els|est|ish|ise|ising|ern|ul|uct|em|ems|ess|in|ige|igy|ogy)|AA
^C*|o|C(?:a|e|o|us|i)|OW
|o|(?:ff|ft|ss|st|ng|g$|gs$)|AO
|o|ld|OW
|o|(?:gy|graph|mat|mic|nic|gic|met|log)|AA
S|o|CV|AH
|o|V|OW
|o||AA

|ph||F
|pp||P
^|ps||S
^|pn||N
|p||P

|que|s?$|K
|qu||K W
|q||K

C|re|s?$|ER
|rr||R
|rh||R
|r||R

|ssion||SH AH N
|ssure||SH ER
V|sion||ZH AH N
r|sion||ZH AH N
|sion||SH AH N
V|sure||ZH ER
V|su|al|ZH UW
V|si|a|ZH
|sh||SH
|sch||S K
|sc|[eiy]|S
|stle|s?$|S AH L
|sten|s?$|S AH N
V.*|sm|$|Z AH M
|ss||S
[uoi]u|s|$|S
[ui]|s|$|S
(?:[bdglmnrvwyaeo])|s|$|Z
|s|$|S
(?:ou|a|ea|ur|or|n|l|r|p|k)|s|e|S
V|s|V|Z
|s||S

|tch||CH
s|tion||CH AH N
|tion||SH AH N
|tious||SH AH S
|tial||SH AH L
|tien|[tc]|SH AH N
|tia||SH AH
|ture||CH ER
|tur|[aei]|CH ER
|tu|[aeo]|CH UW
S|th|e|DH
V|th|er|DH
V|th|e|DH
V|th|ing|DH
r|th|[ey]|DH
|thm|$|DH AH M
|th||TH
|tt||T
|t|ch|
|tz||T S
|t||T

|uild||IH L D
g|ui|d|AY
g|u|[aeiy]|
|uit|s?$|UW T
|ui||UW
|uy||AY
g|ue|s?$|
[rljtdns]|ue|s?$|UW
|ue|$|Y UW
|ues|$|Y UW Z
|ur|e[sd]?$|Y UH
|urr||ER
S|ur|V|ER
[jrlsntd]|ur|V|UH R
|ur|V|Y UH R
|ur||ER
^(?:f|p|b)|ull||UH L
[pb]|u|sh|UH
p|u|t|UH
S|ul|(?:ly|s)?$|AH L
|u|(?:dy|nish|blic|died|dies)|AH
[rljtdnsxhz]|u|E|UW
|u|E|Y UW
S[bcfgkmp]|u|CV|Y AH
S|u|l[aei]|Y AH
[rljtdnshz]|u|CV|UW
|u|C(?:[aeiou]|y$)|Y UW
[rljtdnshz]|u|(?:bl|pl|tr)|UW
|uu||UW
|u|$|UW
^|u|n[it]|AH
|u|V|UW
|u||AH

|v||V

|wr||R
|wh|o|HH
|wh||W
|w|V|W
^|w||W
|w||

^|x||Z
|x|ious|K SH
|xc|[eiy]|K S
|x||K S

^|y|V|Y
^C+|y|(?:$|ing|er|ers|s$)|AY
f|y|(?:$|ing)|AY
|y|$|IY
|y|s$|IY
|y|(?:C|ph|th)e|AY
|yz|e|AY Z
^(?:h|c|d|t|ps|g)|y|(?:p[eo]|c[hl]|n[a]|b|d|r)|AY
|yr||ER
|y|V|Y
S|y|C|IH
|y||IH

|zz||Z
|z||Z
"""
"""The rules, grouped by the first of their letters."""

# Common English words that are not read as they are written.


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

IRREGULAR: dict[str, str] = {
    word: " ".join(phones)
    for word, *phones in (line.split() for line in _LINES.split("\n") if line)
}
"""Word -> its phones, the CMU dictionary's symbols without stress."""

# Words that no dictionary has: English letters to sounds by rule.


Rule = tuple[re.Pattern[str], str, re.Pattern[str], tuple[str, ...]]

SAME = {
    ("T", "T"),
    ("D", "D"),
    ("S", "S"),
    ("Z", "Z"),
    ("K", "K"),
    ("L", "L"),
    ("N", "N"),
    ("M", "M"),
    ("P", "P"),
    ("B", "B"),
    ("F", "F"),
    ("R", "R"),
    ("G", "G"),
    ("V", "V"),
    ("ER", "R"),
    ("JH", "JH"),
}
"""Phones that are said once when letters on both sides of a seam give them twice."""


def _pattern(text: str) -> str:
    # A capital of the shorthand, but not one behind a backslash.
    return re.sub(r"(?<!\\)[CVSE]", lambda found: SHORTHAND[found[0]], text)


def _parts(line: str) -> list[str]:
    """A line split at the bars that stand in no brackets: only the contexts hold alternatives, always in brackets."""
    parts, depth = [""], 0
    for c in line:
        depth += (c in "([") - (c in ")]")
        if c == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return parts


@lru_cache(maxsize=1)
def rules() -> dict[str, list[Rule]]:
    """First letter -> its rules in order, as (left, letters, right, phones)."""
    found: dict[str, list[Rule]] = {}
    for line in RULES.split("\n"):
        if line:
            left, letters, right, phones = _parts(line)
            rule = (
                re.compile(f"(?:{_pattern(left)})$"),
                letters,
                re.compile(_pattern(right)),
                tuple(phones.split()),
            )
            found.setdefault(letters[0], []).append(rule)
    return found


@lru_cache(maxsize=4096)
def sound_out(word: str) -> tuple[str, ...]:
    """Phones (the CMU dictionary's symbols without stress) of ``word``, lower-case a to z and apostrophes; () for none."""
    if word in IRREGULAR:
        return tuple(IRREGULAR[word].split())
    return by_rules(word)


def by_rules(word: str) -> tuple[str, ...]:
    """The same by the rules alone."""
    letters = word.replace("'", "")
    phones: list[str] = []
    place = 0
    table = rules()
    while place < len(letters):
        before, step = letters[:place], 1
        for left, graph, right, sounds in table.get(letters[place], ()):
            end = place + len(graph)
            if (
                letters.startswith(graph, place)
                and right.match(letters[end:])
                and left.search(before)
            ):
                for sound in sounds:
                    if not (phones and (phones[-1], sound) in SAME):
                        phones.append(sound)
                step = len(graph)
                break
        place += step
    return tuple(phones)

"""How English letters are read: rules in order, the first that fits wins.

A line is ``left|letters|right|phones``: ``letters`` at the current place, when what precedes them ends with ``left`` and what
follows begins with ``right`` (regular expressions on the rest of the word), become ``phones`` (the CMU dictionary's symbols; none
for silent letters). C is a consonant letter, V a vowel letter, S "the word has had a vowel before, then a consonant", E the end
of a word whose silent e makes the vowel before its consonant long.
"""

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

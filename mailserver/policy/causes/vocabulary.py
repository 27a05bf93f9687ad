"""Word stems by meaning, in the languages that replies come in. The rules combine these; they hold no sentences.

Stems are written as `words.plain` leaves them: lower case, without accents. A stem begins at a word's beginning (where
the script has word boundaries) and may go on. Order within a group does not matter.
"""

import re
from functools import cache

# Scripts whose words are not parted by blanks.
_SYLLABLES = r"[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]"

# English; German, Dutch; French, Spanish, Italian, Portuguese; Polish, Russian; Japanese, Chinese, Korean.
_STEMS: dict[str, tuple[str, ...]] = {
    "mailbox": (
        "mailbox|mail box|mbox|inbox|maildrop|user|recipient|account|addressee|alias|local part|customer",
        "subscriber",
        "destination address|<addr>|email address|e-mail address|address|rcpt",
        "postfach|benutzer|empfanger|konto|mailadresse|adresse|gebruiker|ontvanger|postvak|postbus|adres",
        "boite|destinataire|utilisateur|compte|buzon|usuario|destinatario|cuenta|direccion",
        "casella|utente|indirizzo|caixa|conta|endereco",
        "skrzynk|uzytkownik|odbiorc|konta|пользовател|получател|ящик|адрес|учетн",
        "ユーザ|宛先|メールボックス|受信者|アドレス|用户|收件人|邮箱|信箱|帐号|账号|使用者|사용자|수신자",
        "메일함|계정",
    ),
    "unknown": (
        r"no (?:mailbox|user|account|recipient|one)\b",
        "unknown|not known|not found|could not be found|couldn't be found|not find|no longer exist|not exist",
        "nonexist",
        "doesn't exist|does not have an? |doesn't have an? |no ?such|there is no|not a (?:known|valid)|invalid",
        "not valid",
        "not listed in|not in (?:the )?(?:recipient |route )?list|unresolvable|unallocated|misspelled|undeliverable",
        "unrouteable|unroutable|cannot be verified",
        "no longer (?:valid|available|on)|is not our|not our customer|not recognized|bad destination",
        "illegal alias",
        "unbekannt|nicht bekannt|existiert nicht|nicht gefunden|kein (?:postfach|benutzer|solch)|onbekend",
        "bestaat niet",
        "inconnu|n'existe pas|invalide|no existe|desconocid|sconosciut|non esiste|inesistente|nao existe",
        "inexistente",
        "nie istnieje|nieznan|не существует|не найден|неизвест|нет такого|недействител",
        "存在しません|存在しない|不明|見つかりません|不存在|未找到|无效|無效|존재하지|없는 사용자|없습니다",
    ),
    "disabled": (
        "disabled|deactivated|inactive|inactivity|suspended|not active|is blocked|isblocked|locked|expired",
        "archived|discontinued",
        "closed|terminated|no longer in use|frozen|dormant|not accepting (?:messages|mail)|abandoned",
        "deaktiviert|gesperrt|inaktiv|stillgelegt|geblokkeerd|uitgeschakeld",
        "desactiv|bloque|archive|suspendu|suspendid|deshabilitad|inactiv|disattivat|sospes|desativad|bloquead",
        "zablokowan|nieaktywn|zawieszon|заблокирован|отключен|неактив|停止|無効|停用|禁用|冻结|휴면|정지",
    ),
    "full": (
        "(?:over|above|out of) (?:the |its |their )?(?:storage |disk |mail )?(?:quota|limit|space|storage)",
        r"overquota|over storage|full\b|(?:disk |storage |mailbox )?quota.{0,24}exceed",
        "exceed.{0,40}(?:quota|storage|space)",
        "quota (?:violation|limit|full)|no (?:more )?(?:space|room)|out of storage",
        "exhausted.{0,30}(?:storage|space)",
        "(?:mail)?box (?:size|storage) (?:limit )?exceed|insufficient (?:mailbox )?(?:storage|quota)",
        "too much mail data",
        r"voll\b|uberfullt|speicherplatz|speichervolumen|kontingent|vol\b|quotum",
        r"pleine?\b|sature|llen[oa]\b|cuota|espacio|pien[oa]\b|spazio|chei[oa]\b|espaco|przepelnion|pelna\b",
        "brak miejsca",
        "переполнен|квот|заполнен|いっぱい|容量|已满|已滿|超出.{0,6}容量|空间不足|용량|가득",
    ),
    "quota": ("quota|storage|kontingent|cuota|квот|容量|용량",),
    "message": (
        "message|mail|e-mail|email|content|body|data|attachment|msg|nachricht|anhang|bericht|courriel",
        "courrier|mensaje|correo",
        "messaggio|allegato|posta|mensagem|anexo|wiadomosc|zalacznik|письм|сообщени|вложени|メール|邮件|郵件",
        "信件|附件|메일",
    ),
    "too large": (
        "too (?:large|big)|size.{0,30}(?:exceed|limit|too|larger|atteinte)",
        r"(?:exceed|larger|over).{0,40}(?:\bsize|length limit)",
        "maximum (?:message |permitted |email |mail )?size",
        r"exceed.{0,20}(?:maximum permitted|mailsize|limits? of [\d.]+ ?[kmg]?b)",
        "zu gross|te groot|trop (?:gros|volumineu)|taille limite|taille maxim|demasiado grande|tamano",
        "troppo grand|muito grande",
        "dimension[ei]|za duz|rozmiar|слишком больш|размер|大きすぎ|サイズ|过大|過大|太大|超过.{0,8}大小|크기",
    ),
    "line": (
        r"lines?\b|zeilen?\b|ligne|linea|строк|行",
        "header line",
    ),
    "too long": (
        "too long|length is|exceed|longer than|zu lang|trop longue|demasiado larga|troppo lung|слишком длин",
        "超",
    ),
    "header": (
        r"header|from: |message-id|\bdate:|subject:|mime|rfc ?-?(?:5322|2822|822)|encoding|encoded-word",
        "kopfzeile|entete|заголовок",
    ),
    "malformed": (
        "malformed|not (?:rfc|compliant)|(?:non|in|not).?complian|must be .{0,30}compliant|missing|duplicate",
        "multiple|syntax",
        "invalid|bad|illegal|not accepted|not crlf|not permitted|disallowed|header based|stray|bare|improper",
        "ungultig|fehlt",
    ),
    "utf8": (r"smtputf8|internationali[sz]ed|unicode address|\beai\b|non-ascii address|utf-?8 address",),
    "spam": (
        r"(?:anti-?)?spam|junk|unsolicited|\bbulk mail|phish|suspicious|unerwunschte|courrier indesirable",
        "pourriel|correo no deseado",
        "posta indesiderata|ongewenst|niechcian|спам|нежелательн|迷惑メール|垃圾邮件|垃圾郵件|垃圾|스팸",
    ),
    "content": (
        "content|nature of|links? within|body|filter|wording|text of|inhalt|contenu|contenido|contenuto",
        "conteudo|tresc",
        "содержим|内容|本文|내용",
    ),
    "virus": (
        r"virus|malware|trojan|infect|worm\b|exploit code|potential security issue|schadsoftware|вирус",
        "ウイルス|病毒|바이러스",
    ),
    "attachment": (
        r"attach|file ?type|file extension|banned file|executable|\.exe|\.zip|anhang|piece jointe|adjunto",
        "allegat|anexo|zalacznik",
        "вложени|添付|附件|첨부",
    ),
    "forbidden": (
        "forbidden|illegal|banned|not allowed|not accepted|prohibited|disallowed|blocked|dangerous|unsafe",
        "denied|refused|reject",
        "verboten|nicht erlaubt|interdit|prohibid|vietat|proibid|niedozwolon|запрещ|禁止|拒绝|拒否|허용되지",
    ),
    "url": (r"\burls?\b|\blinks?\b|domain present|web ?site|hyperlink|ссылк|链接|リンク",),
    "ptr": (
        r"\bptr\b|reverse[ -]?(?:dns|host|lookup|name|address)|\brdns\b|reverse hostname|ip name lookup",
        "reverse entry",
        "cannot find your (?:reverse )?hostname|client hostname not found|ip address does not resolve",
        "no host ?name for|full.circle dns",
        "client ip address .{0,10}does not resolve|hostname lookup for your|ruckwartsaufl|reverse-dns",
        "resolution inverse|dns inverso|обратн|逆引き|反向解析",
    ),
    "generic name": (
        r"dynamic|dial-?up|dialup|residential|transient|generic|consumer|home user|\bdhcp\b|\bdsl\b|\bpbl\b",
        r"\bdul\b|<policy-list>",
        "contains your ip|end.user (?:ip|range)|not authorized to send (?:e?mail )?directly",
        "use the smtp (?:relay|server)",
        "use (?:a|your).{0,30}(?:mail ?gateway|smart ?host|smtp server|relay|mail server)",
        "range of .{0,20}addresses",
        "einwahl|dynamisch|dynamique|dinamic|динамич|動的|动态",
    ),
    "reputation": ("reputation|trust level|reputacion|reputazione|reputacao|репутац|信誉|信用|평판",),
    "bad": (
        "poor|bad|low|negative|insufficient|suspicious|new or untrusted|due to|rejected|reject|schlecht",
        "mauvais|плох|低",
    ),
    "our address": (
        r"<ip>|\bip\b|ip[- ]?address|client host|client|connecting host|sending (?:mta|server|host|ip)",
        "your (?:server|host|network|ip)",
        r"part of (?:their|your) network|mail server|sender ip|source ip|\bmta\b|originating (?:ip|from)",
        r"your ip|host\b|connections?\b",
        "ihre ip|absenderserver|adresse ip|direccion ip|indirizzo ip|endereco ip|adres ip|ip-адрес|发信ip",
        "送信元|클라이언트",
    ),
    "our domain": (
        "sending domain|sender(?:'s)? domain|your domain|mailfrom domain|mail from domain|from domain",
        "helo domain|that domain",
        "domain based|envelope domain|domain of sender|domain of the sender|sender address|helo command",
        "from-domain",
        "absenderdomain|domaine (?:de l'expediteur|emetteur)|dominio del remitente|dominio mittente",
        "домен отправител|送信ドメイン|发件人域名",
    ),
    "listed": (
        r"block ?-?list|black ?-?list|blacklistis|deny ?list|denylist|\bdnsbl|\brbls?\b|listed|spamhaus",
        r"\bxbl\b|\bsbl\b|sorbs\b|spamcop",
        "<address-list>|<policy-list>|<domain-list>|banned (?:sending|sender)",
        "blocked (?:using|by <address-list>|for spam)|block for spam|is blocked|_is_blocked",
        r"banned\b|black (?:ip|host|mail)|delist|removal from this list|is filtered|blocked for spamming",
        "register your ip|in our list",
        "schwarze liste|sperrliste|liste noire|bloquee|lista negra|lista nera|lista czarn|черн[ыо][йм] спис",
        "ブラックリスト|黑名单|黑名單|블랙리스트|차단",
    ),
    "domain list": (r"<domain-list>|\bdbl\b|\bsurbl|\buribl|\brhsbl|url ?bl",),
    "spf": (r"\bspf\b|sender policy framework|openspf",),
    "dkim": (r"\bdkim\b|domainkeys",),
    "dmarc": (r"\bdmarc\b",),
    "fails": (
        "fail|invalid|bad|not (?:pass|allow|permit|authorized|designated|aligned)|did not pass|does not pass",
        "doesn't (?:pass|allow)|no valid",
        "reject|prohibit|violat|refus|not accepted|denied|no .{0,8}alignment|policy|mismatch|configuration",
        "missing|suspicious entries|not signed|en echec|verifier",
    ),
    "authentication level": ("(?:required )?authentication (?:level|requirements)",),
    "unauthenticated": (
        "unauthenticated|(?:not|doesn't|does not|no) .{0,20}authentication information",
        "fails? to pass authentication|failing both|both spf and dkim|either (?:has )?spf(?:,| or)",
        "must pass either|spf or dkim",
    ),
    "resolves not": (
        "not found|does not exist|doesn't exist|not exist|does not resolve|must resolve|doesn't resolve|unresolvable",
        "no (?:valid )?(?:mx|a) |invalid dns mx",
        "cannot be resolved|could not be resolved|not resolvable|no mx|need fully.qualified|unverified",
        "verif(?:y|ication) failed|host unknown|bogus mx",
        "nicht gefunden|existiert nicht|introuvable|no existe|non esiste|nao existe|не существует|不存在",
    ),
    "sender": (
        "sender|mail ?from|from:? ?domain|return.path|envelope.from|reverse.path|absender|expediteur|emetteur",
        "remitente|mittente|remetente|nadawc|отправител|送信者|发件人|发信人",
    ),
    "tls": (
        r"\btls\b|starttls|\bssl\b|sslv3|encryption|encrypted|verschlussel|chiffrement|cifrad|шифровани|暗号化",
        "加密",
    ),
    "required": (
        r"required?\b|requires|must\b|mandatory|need|only accept|not offered|without|erforderlich|obligatoire",
        "requis|requerid|richiest|wymagan|требу|必要|必须|필요",
    ),
    "handshake": (
        r"handshake|cannot start tls|mta-sts|\bdane\b|\btlsa\b|dnssec",
        r"tls (?:currently )?(?:not available|unavailable)|certificate|cert\b|tls negotiation|ssl_connect",
        "tls library|cipher",
    ),
    "login": (
        "authentication required|authentication is required|auth(?:entication)? (?:failed|failure|data)",
        "not authenticated|must (?:issue an )?auth",
        "username and password|password not accepted|credentials|please log in|log ?in to|smtp auth",
        "permissions? to send as|not logged in|client was not",
        "proper authentication|without authentication|anmeldung erforderlich|authentification requise",
        "autenticacion|autenticazione|autenticacao|аутентификац|認証|验证失败|인증",
    ),
    "relay": (
        r"relay(?:ing)?\b|rcpthosts|not local|we do not relay|not configured to let you|relais|reenvio|релей",
        "中继|中繼|中継|릴레이",
    ),
    "denied": (
        "denied|den(?:y|ies)|disallowed|not (?:allowed|permitted|been configured)|prohibited|disabled",
        "unable to|isn't in|refused|rejected|cannot|nicht|refuse|no permitid|negad|запрещ|拒",
    ),
    "throttled": (
        "(?:rate|thread|connection|session|hourly).?limit|throttl",
        "too (?:many|much) (?:mail|e-?mails|messages|connections|concurrent|sessions|recent|simultaneous|requests)|"
        "too many new tls",
        "too (?:quickly|fast)|frequency|at a rate|rate that|unusual rate|unexpected volume|excessive volume",
        "volume of|slow down|max message per",
        "(?:messages?|connections?|limit).{0,60}per (?:hour|minute|day|connection|resource)",
        "maximum number of (?:concurrent )?connections|queue quota",
        "concurrent connections|too many messages|message rate|messages in this connection",
        "in a short (?:period|time)|recently",
        "zu viele (?:verbindungen|nachrichten|mails)|te veel|trop de (?:connexions|messages)|demasiad[oa]s",
        "troppe? |muitas |zbyt wiele|слишком много|接続数|过于频繁|频率|頻率|过快|너무 많",
    ),
    "own quota": (
        "daily|sending (?:limit|quota)|(?:sending|user|relay|customer).{0,24}limit exceeded|within 24 hours",
        "per day|sent too many|you have exceeded",
        "outbound limit|mail quota for sender|tageslimit|limite (?:d'envoi|de envio|giornalier|diari)|dzienn",
        "суточн|每日|单日|일일",
    ),
    "exceeded": (r"exceed|not allowed|reached|over\b|uberschritten|depass|excedid|superat|przekroczon|превыш|超",),
    "many recipients": (
        "too many (?:rcpt|recipients|receivers)|(?:maximum )?number of recipients|recipients? (?:limit|count)",
        "zu viele empfanger|trop de destinataires",
        "demasiados destinatarios|troppi destinatari|muitos destinatarios|zbyt wielu odbiorcow",
        "слишком много получател|收件人过多|收件人数",
    ),
    "greylist": (
        "gr[ae]y ?-?list|liste grise|graulist|lista gris|серы[йх] спис|灰名单|グレイリスト|first attempt",
        "seen before",
    ),
    "busy": (
        # `mailbox busy` is of RFC 5321's frame sentence for 450, and about one mailbox.
        r"(?<!mailbox )\bbusy\b|too much load|load (?:is )?too high|high load|overload|not accepting network messages",
        "service (?:is )?(?:temporarily |currently )*(?:not available|unavailable|refused)",
        "(?:server|service) temporarily unavailable|currently unavailable|not available|service refuse",
        "shutting down|closing (?:transmission )?channel|sigterm",
        "uberlastet|nicht verfugbar|indisponible|no disponible|non disponibile|indisponivel|niedostepn",
        "недоступ|занят|混雑|忙|바쁩",
    ),
    "local error": (
        "(?:temporary|internal|local|system|server|unexpected|software|lookup) "
        "(?:server |system |local |lookup |processing )?(?:error|failure|problem)",
        "local (?:error|problem)|insufficient (?:system|disk|resources|space)",
        "resources? (?:are )?temporarily unavailable|temporarily rejected message|spool file|no space left",
        "transport error",
        "error (?:in|while) (?:processing|writing|reading)|temporarily unavailable",
        "configuration error|trouble in|lost connection|resource temporarily",
        "interner fehler|vorubergehend|erreur (?:interne|temporaire)|error interno|temporal",
        "errore interno|temporane|erro interno|blad serwera|временн|内部错误|系统繁忙|一時的",
    ),
    "come back": (
        "(?:try|retry|send|come back|call).{0,24}(?:again|later|another time|in a (?:while|moment))|retry",
        "spater|plus tard|mas tarde|piu tardi|mais tarde|pozniej|later opnieuw",
        "позже|позднее|稍后|稍後|後で|後ほど|나중에",
    ),
    "sync": (
        "synchroni[sz]ation|bad sequence|out of sequence|pipelining|before greeting",
        "protocol (?:error|violation)|command (?:not )?(?:un)?rec?ognized",
        "unrecogni[sz]ed command|unknown command|command unrecognized|send (?:helo|ehlo)|(?:helo|ehlo) first",
        "(?:mail|rcpt) first|not implemented|command not allowed",
        "too many (?:errors|unrecognized|bad commands)|non-?smtp command|nested mail",
    ),
    "no mail here": (
        "null ?mx|does not accept (?:any )?mail|doesn't (?:accept|receive) (?:any )?(?:e?mail)",
        "accepts no mail|no mail accepted",
    ),
    "domain": (
        r"domain|host(?:name)?\b|mail exchanger|mx\b|name service|<name>|domane|domaine|dominio|domen|домен",
        "ドメイン|域名|도메인",
    ),
    "not found": (
        "not found|could not find|couldn't find|couldn't be found|unable to find|nonexistent|non-existent",
        "(?:does(?: not|n't)|may not) exist|nxdomain|unknown|no such|not resolve",
        "nicht gefunden|existiert nicht|introuvable|inconnu|no existe|non esiste|nao existe|nie istnieje",
        "не существует|не найден|見つかりません|不存在|없는",
    ),
    "dns trouble": (
        "not found, try again|servfail|server failure|dns (?:resolving |query |lookup |error|timeout|fail)",
        "lookup (?:failure|error|timed out)|temporary (?:dns|lookup)|resolver (?:error|failure)|mx lookup",
        "unexpected name server|malformed or unexpected",
    ),
    "refused": (
        "connection (?:was )?refused|connect.{0,60}refused|10061|econnrefused",
        "verbindung (?:verweigert|abgelehnt)|connexion refusee|conexion rechazada",
    ),
    "timed out": (
        "timed out|timeout|time-?out|no answer|no route|network is unreachable|unreachable|lost connection",
        "connection (?:reset|closed|dropped|expired)|bad connection",
        "unable to (?:connect|establish)|wasn't able to establish|not able to connect",
        "did not (?:accept our requests|respond)|did not respond|zeitüberschreitung|zeituberschreitung",
        "tiempo de espera|连接超时|タイムアウト",
    ),
    "loop": (
        r"\bloop|too many hops|hop count|\bhops\b|received headers|forwarded too many|too many .{0,4}received",
        "schleife|boucle|bucle|环回|ループ",
    ),
    "open resolver": (
        r"open resolver|public resolver|query refused|refused\.shtml|excessive queries",
        r"return(?:ed)? code 127\.255",
    ),
    "by recipient": (
        r"by (?:the |this )?recipients?\b|user (?:domain )?entry|manually blocked|blocked by this|doesn't want",
        "reject list|personal block|customer block|custom block",
    ),
    "organization": (
        r"organi[sz]ation policy|transport\.rules|mail flow rule|administrator (?:has )?|local policy",
        "administrative prohibition|security policies",
    ),
    "not customer": ("not our customer",),
    "messages from address": ("messages? from <ip>|mail from <ip>|all messages from",),
    "deferred": ("permanently deferred|temporarily deferred|deferred due to",),
    "never": ("will not succeed|will be permanently",),
    "been blocked": (
        "(?:has|have|is|was|are) (?:been )?(?:temporarily |currently )?(?:blocked|banned|blacklisted)",
        "temporarily (?:blocked|blacklisted)",
    ),
    "sender policy": ("sender'?s policy|domain'?s policy|policy of the (?:sender|domain)",),
    "illegal characters": (
        "illegal char|invalid char|bad address syntax|address syntax|not allowed in (?:an )?address",
    ),
    "refused mail": ("mail refused|refus(?:ed|ing) (?:all )?mail|mail rejected|denied access|access denied",),
    "sender check": (
        "sender verif|postmaster verification|callback (?:setup|verification)",
        "verify callout|callout (?:to the )?sender",
        "cannot verify sender|could not verify sender|sender (?:address )?could not be verified",
    ),
    "scored": (r"scored? (?:of )?[\d.]+ ?(?:points|/)|spam score|score too high",),
    "complaints": ("complaint|complained|beschwerden|plaintes|жалоб",),
    "your access": (
        "your access (?:to|was)|access (?:to submit|to this mail system)|not allowed to connect",
        "traffic not accepted",
        "(?:connections?|mail) (?:denied|rejected|not allowed|not accepted|will not be accepted) from",
    ),
    "ip based": ("ip[- ]based",),
    "domain based": ("domain[- ]based",),
    "unwanted": ("not welcome|unwelcome|unwanted|not wanted",),
    "invalid mx": ("invalid dns mx|invalid (?:dns )?mx|bogus mx|illegal mx|invalid dns a",),
    "not offered by": ("not offered|not supported|does not offer|doesn't offer",),
    "resources": ("insufficient|resources|disk space|out of memory|no space left|storage on device",),
    "configuration error": ("configuration (?:error|problem)|misconfigur|config error|configured incorrectly",),
    "verification pending": (
        "verification in progress|unverified address|address verification|cannot verify .{0,20}at this time",
    ),
    "cannot find": ("could not find|couldn't find|unable to find|cannot find|can't find|konnte .{0,20}nicht find",),
    "dns": (r"\bdns\b|name ?server|name service|\bmx\b|(?:host|name|domain|address) ?lookup|resolver|resolving",),
    "expired in queue": (
        "message expired|delivery time expired|queue too long|retry time(?:out)? exceeded",
        "could not be delivered for",
    ),
    "unavailable mailbox": (
        "(?:mailbox|recipient|address) (?:is )?(?:temporarily )?(?:unavailable|not available|rejected)",
        "mailbox not available",
    ),
}


@cache
def stems(group: str) -> re.Pattern[str]:
    """The pattern of one group; a Latin or Cyrillic stem must not begin inside a word."""
    alternatives = "|".join(_STEMS[group])
    return re.compile(rf"(?:(?<![^\W\d_])|(?<={_SYLLABLES}))(?:{alternatives})")


def groups() -> frozenset[str]:
    """The names of all groups."""
    return frozenset(_STEMS)

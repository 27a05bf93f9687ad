"""Reports in the shapes of large reporters, with made-up contents; and a mail around one."""

import base64
import gzip
import io
import zipfile

BEGIN = 1_750_032_000  # 2025-06-16, 00:00 UTC
END = BEGIN + 86399

# No namespace, no version, several records, `pct`.
GOOGLE = f"""<?xml version="1.0" encoding="UTF-8" ?>
<feedback>
  <report_metadata>
    <org_name>google.com</org_name>
    <email>noreply-dmarc-support@google.com</email>
    <extra_contact_info>https://support.google.com/a/answer/2466580</extra_contact_info>
    <report_id>10293847561029384756</report_id>
    <date_range>
      <begin>{BEGIN}</begin>
      <end>{END}</end>
    </date_range>
  </report_metadata>
  <policy_published>
    <domain>example.org</domain>
    <adkim>r</adkim>
    <aspf>r</aspf>
    <p>none</p>
    <sp>none</sp>
    <pct>100</pct>
    <np>none</np>
  </policy_published>
  <record>
    <row>
      <source_ip>192.0.2.7</source_ip>
      <count>14</count>
      <policy_evaluated>
        <disposition>none</disposition>
        <dkim>pass</dkim>
        <spf>pass</spf>
      </policy_evaluated>
    </row>
    <identifiers>
      <header_from>example.org</header_from>
    </identifiers>
    <auth_results>
      <dkim>
        <domain>example.org</domain>
        <result>pass</result>
        <selector>r202611</selector>
      </dkim>
      <dkim>
        <domain>example.org</domain>
        <result>pass</result>
        <selector>e202611</selector>
      </dkim>
      <spf>
        <domain>example.org</domain>
        <result>pass</result>
      </spf>
    </auth_results>
  </record>
  <record>
    <row>
      <source_ip>2001:db8:0:0::19</source_ip>
      <count>2</count>
      <policy_evaluated>
        <disposition>none</disposition>
        <dkim>fail</dkim>
        <spf>fail</spf>
        <reason>
          <type>local_policy</type>
          <comment>arc=pass</comment>
        </reason>
      </policy_evaluated>
    </row>
    <identifiers>
      <header_from>example.org</header_from>
    </identifiers>
    <auth_results>
      <spf>
        <domain>lists.example.net</domain>
        <result>pass</result>
      </spf>
    </auth_results>
  </record>
</feedback>
""".encode()

# Microsoft: a byte order mark, the version, `envelope_to`, `fo`, one line.
MICROSOFT = (
    "\ufeff"
    '<?xml version="1.0"?><feedback xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><version>1.0</version><report_metadata>'
    "<org_name>Enterprise Outlook</org_name><email>dmarcreport@microsoft.com</email>"
    f"<report_id>0f1e2d3c4b5a</report_id><date_range><begin>{BEGIN}</begin><end>{BEGIN + 86400}</end></date_range>"
    "</report_metadata><policy_published><domain>example.org</domain><adkim>r</adkim><aspf>r</aspf><p>reject</p>"
    "<sp>reject</sp><pct>100</pct><fo>1</fo></policy_published><record><row><source_ip>203.0.113.9</source_ip>"
    "<count>12</count><policy_evaluated><disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf>"
    "</policy_evaluated></row><identifiers><envelope_to>outlook.example</envelope_to><envelope_from>spam.example"
    "</envelope_from><header_from>example.org</header_from></identifiers><auth_results><dkim><domain>spam.example"
    "</domain><selector>x</selector><result>fail</result></dkim><spf><domain>spam.example</domain>"
    "<scope>mfrom</scope><result>pass</result></spf></auth_results></record></feedback>"
).encode()

# The draft before RFC 7489 (Yahoo and others for long): no `selector`, upper case here and there, blanks.
OLD = f"""<?xml version="1.0"?>
<feedback>
  <report_metadata>
    <org_name> Yahoo </org_name>
    <email>dmarchelp@yahooinc.com</email>
    <report_id>1750118400.123456</report_id>
    <date_range><begin>{BEGIN}</begin><end>{END}</end></date_range>
  </report_metadata>
  <policy_published><domain>Example.ORG</domain><p>none</p><pct>100</pct></policy_published>
  <record>
    <row><source_ip>192.0.2.7</source_ip><count>1</count>
      <policy_evaluated><disposition>none</disposition><dkim>pass</dkim><spf>fail</spf></policy_evaluated></row>
    <identifiers><header_from>Example.ORG</header_from></identifiers>
    <auth_results><dkim><domain>example.org</domain><result>pass</result></dkim>
      <spf><domain>example.org</domain><result>softfail</result></spf></auth_results>
  </record>
</feedback>
""".encode()

# RFC 9990: the namespace with a prefix, an extension, `pass` as a disposition, the tree walk.
NEW = f"""<?xml version="1.0" encoding="UTF-8"?>
<d:feedback xmlns:d="urn:ietf:params:xml:ns:dmarc-2.0" xmlns:ext="https://ext.example/1">
  <d:version>1.0</d:version>
  <d:report_metadata>
    <d:org_name>mx.example.com</d:org_name><d:email>reports@example.com</d:email>
    <d:report_id>a.b@example.com</d:report_id>
    <d:date_range><d:begin>{BEGIN}</d:begin><d:end>{END}</d:end></d:date_range>
    <d:generator>something 1.2</d:generator>
  </d:report_metadata>
  <d:policy_published><d:domain>example.org</d:domain><d:discovery_method>treewalk</d:discovery_method>
    <d:p>quarantine</d:p><d:sp>none</d:sp><d:np>reject</d:np><d:fo>1:d</d:fo><d:adkim>s</d:adkim><d:aspf>s</d:aspf>
    <d:testing>y</d:testing></d:policy_published>
  <d:extension><ext:arc-override>never</ext:arc-override></d:extension>
  <d:record>
    <d:row><d:source_ip>192.0.2.7</d:source_ip><d:count>3</d:count>
      <d:policy_evaluated><d:disposition>pass</d:disposition><d:dkim>pass</d:dkim><d:spf>pass</d:spf>
      </d:policy_evaluated></d:row>
    <d:identifiers><d:header_from>example.org</d:header_from><d:envelope_from/></d:identifiers>
    <d:auth_results><d:spf><d:domain>example.org</d:domain><d:scope>mfrom</d:scope><d:result>pass</d:result></d:spf>
    </d:auth_results>
    <ext:arc-results><ext:row>x</ext:row></ext:arc-results>
  </d:record>
</d:feedback>
""".encode()

TLS_GOOGLE = b"""{"organization-name":"Google Inc.","date-range":{"start-datetime":"2025-06-16T00:00:00Z",
"end-datetime":"2025-06-16T23:59:59Z"},"contact-info":"smtp-tls-reporting@google.com",
"report-id":"2025-06-16T00:00:00Z_example.org","policies":[{"policy":{"policy-type":"sts",
"policy-string":["version: STSv1","mode: enforce","max_age: 604800","mx: mail.example.org"],
"policy-domain":"example.org","mx-host":["mail.example.org"]},"summary":{"total-successful-session-count":20,
"total-failure-session-count":3},"failure-details":[{"result-type":"certificate-expired","sending-mta-ip":"198.51.100.5",
"receiving-ip":"192.0.2.7","receiving-mx-hostname":"mail.example.org","failed-session-count":3}]}]}"""

# Microsoft: `mx-host` is a text, a zone in the times, a domain with no policy.
TLS_MICROSOFT = b"""\xef\xbb\xbf{"organization-name":"Microsoft Corporation","date-range":{
"start-datetime":"2025-06-16T00:00:00+00:00","end-datetime":"2025-06-16T23:59:59+00:00"},
"contact-info":"tlsrpt-noreply@microsoft.com","report-id":"133945+example.org","policies":[{"policy":{
"policy-type":"no-policy-found","policy-string":[],"policy-domain":"example.org","mx-host":"mail.example.org"},
"summary":{"total-successful-session-count":"7","total-failure-session-count":0}}]}"""


def zipped(octets: bytes, name: str = "report.xml", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, octets)
    return file.getvalue()


def mail(
    octets: bytes, kind: str = "application/gzip", sender: str = "noreply-dmarc-support@google.com", top: str = ""
) -> bytes:
    """A report as an attachment beside a text, as filed here: LF line ends. `top` are fields above the sender's."""
    return (
        f"Return-Path: <>\nDelivered-To: postmaster@example.org\n{top}"
        "Received: from out.example by mail.example.org; Tue, 17 Jun 2025 03:00:00 +0000\n"
        f"From: {sender}\nTo: postmaster@example.org\n"
        "Subject: Report domain: example.org Submitter: google.com Report-ID: 10293847561029384756\n"
        'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="=_b"\n\n'
        "This is a report.\n--=_b\nContent-Type: text/plain\n\nHello.\n"
        f'--=_b\nContent-Type: {kind}; name="a!b!1!2.x"\nContent-Transfer-Encoding: base64\n'
        'Content-Disposition: attachment; filename="a!b!1!2.x"\n\n'
        f"{base64.encodebytes(octets).decode()}\n--=_b--\n"
    ).encode()


def alone(octets: bytes, kind: str = "application/zip") -> bytes:
    """A report as the only content, as Google sends it."""
    return (
        f"From: a@google.com\nSubject: Report domain: example.org\nContent-Type: {kind}\n"
        f"Content-Transfer-Encoding: base64\n\n{base64.encodebytes(octets).decode()}"
    ).encode()


PACKED = {
    "xml": GOOGLE,
    "gzip": gzip.compress(GOOGLE),
    "zip": zipped(GOOGLE),
    "zip, stored": zipped(GOOGLE, method=zipfile.ZIP_STORED),
    "mail with gzip": mail(gzip.compress(GOOGLE)),
    "mail with gzip, CRLF": mail(gzip.compress(GOOGLE)).replace(b"\n", b"\r\n"),
    "mail with zip under a wrong type": mail(zipped(GOOGLE), "application/octet-stream"),
    "mail with plain XML": mail(GOOGLE, "text/xml"),
    "mail that is a zip": alone(zipped(GOOGLE)),
}

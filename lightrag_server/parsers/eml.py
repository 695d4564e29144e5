"""E-mail. An own reader: kreuzberg 4.10 keeps HTML entities in mails and leaves out line breaks."""

from __future__ import annotations

from email import policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser

from lightrag_server.core.records import ParsedDocument
from lightrag_server.errors import UnreadableFile
from lightrag_server.parsers.draft import Draft, single_line
from lightrag_server.parsers.encoding import decoded
from lightrag_server.parsers.html import read_html

_HEADERS = ("From", "To", "Cc", "Date")


def read_eml(data: bytes) -> ParsedDocument:
    """Subject as heading, addresses and date, the body (plain if there is one), names of attachments."""
    message = BytesParser(EmailMessage, policy=policy.default).parsebytes(data)
    if not message.keys():
        raise UnreadableFile("is not an e-mail")
    draft = Draft()
    draft.heading(1, str(message.get("Subject", "")))
    draft.paragraph("\n".join(f"{name}: {single_line(str(message[name]))}" for name in _HEADERS if message[name]))
    body = message.get_body(preferencelist=("plain", "html"))
    if body is not None:
        draft.paragraph(_text(body).strip())
    for attachment in message.iter_attachments():
        if name := attachment.get_filename():
            draft.item(f"attachment: {single_line(name)}")
    return draft.parsed("eml")


def _text(part: MIMEPart) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes) or not data.strip():
        return ""
    if part.get_content_subtype() == "html":
        return read_html(data).text
    try:
        return data.decode(part.get_content_charset() or "utf-8").replace("\r\n", "\n")
    except (UnicodeDecodeError, LookupError):
        return decoded(data)

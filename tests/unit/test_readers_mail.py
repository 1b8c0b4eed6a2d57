"""Mail, mailboxes, calendars and contacts: what people wrote, wherever in them it stands."""

from __future__ import annotations

import base64
import mailbox
import time
from collections.abc import Iterator
from email.message import EmailMessage
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from shared.domain.errors import Skipped
from shared.domain.parts import Pages, Text
from shared.readers import BytesSource, Limits, read
from tests.unit import reader_samples as make
from tests.unit.reader_checks import (
    arrives_in_any_pieces,
    drained,
    goes_on_exactly,
    measured,
    mutations,
    parts,
    refused,
    texts,
)


def letter(subject: str = "Flour", text: str = "Hello Ada,\n\nsee you at five.\n") -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "Zoë Ärger <zoe@example.com>"
    mail["To"] = "Ada <ada@example.com>, Ben <ben@example.com>"
    mail["Subject"] = subject
    mail["Date"] = "Thu, 15 Jan 2026 17:42:10 +0000"
    mail.set_content(text)
    return mail


@cache
def full() -> bytes:
    """A mail with everything: two forms of its text, attachments of many kinds, another mail."""
    mail = letter("Grüße aus Köln – und eine lange Betreffzeile, die über mehr als eine Zeile geht")
    mail.add_alternative("<p>Hello <b>in colours</b></p>", subtype="html")
    pdf = make.pdf(["sixteen letters and more", make.SCAN, "the page behind the picture"])
    mail.add_attachment(pdf, maintype="application", subtype="pdf", filename="Résumé final.pdf")
    mail.add_attachment("a,b\n1,2\n" * 900, filename="t.csv", subtype="csv")
    mail.add_attachment(b"ID3\0\0\0", maintype="audio", subtype="mpeg", filename="song.mp3")
    mail.add_attachment(make.zipped({"a.txt": "b"}), maintype="application", subtype="zip", filename="x.zip")
    mail.add_attachment(make.docx(make.paragraph("a paragraph")), maintype="application", subtype="octet-stream")
    inner = letter("The inner one", "inner text\n")
    inner.add_attachment("a note", filename="n.txt")
    mail.add_attachment(inner)
    return bytes(mail)


def box(tmp_path: Path, *mails: EmailMessage | bytes) -> bytes:
    """A mailbox as Python writes it."""
    written = mailbox.mbox(tmp_path / "box")
    for mail in mails:
        written.add(mail)
    written.close()
    return (tmp_path / "box").read_bytes()


def test_a_mail_gives_its_letterhead_its_text_and_its_attachments() -> None:
    """What was attached is often what is looked for; what cannot be read is named."""
    found = parts(full(), "a.eml")

    assert [type(part) for part in found].count(Pages) == 1
    told = [(part.text, part.locator.as_json()) for part in found if isinstance(part, Text)]
    letterhead = (
        "From: Zoë Ärger <zoe@example.com>\nTo: Ada <ada@example.com>, Ben <ben@example.com>\n"
        "Date: Thu, 15 Jan 2026 17:42:10 +0000\n"
        "Subject: Grüße aus Köln – und eine lange Betreffzeile, die über mehr als eine Zeile geht\n\n"
    )
    assert told[0] == (letterhead, {})
    assert told[1] == ("Hello Ada,\n\nsee you at five.\n", {})
    assert told[2] == (
        "attachment Résumé final.pdf\n\nsixteen letters and more\n\n",
        {"page_first": 1, "page_last": 1, "part": "attachment Résumé final.pdf"},
    )
    places = [(part.locator.part, part.locator.page_first) for part in found if isinstance(part, Pages)]
    assert places == [("attachment Résumé final.pdf", 2)]
    assert told[4][1]["part"] == "attachment t.csv"
    assert told[4][1]["row_first"] == 1
    rest = told[-6:]
    assert rest == [
        ("attachment song.mp3: An audio file: it holds sound, no text.\n", {"part": "attachment song.mp3"}),
        ("attachment x.zip: An archive within another file is not opened.\n", {"part": "attachment x.zip"}),
        ("attachment 7\n\na paragraph\n\n", {"part": "attachment 7"}),
        (rest[3][0], {"part": "attached message: The inner one"}),
        ("inner text\n", {"part": "attached message: The inner one"}),
        (
            "attachment n.txt\n\na note\n",
            {
                "part": "attached message: The inner one > attachment n.txt",
                "byte_start": 0,
                "byte_end": 7,
                "line_first": 1,
                "line_last": 1,
            },
        ),
    ]
    assert "colours" not in "".join(text for text, _ in told)


def test_of_a_text_in_two_forms_the_one_that_says_something_is_read() -> None:
    """Newsletters have an empty plain text; phones put a document between two halves of the formatted one."""
    newsletter = letter(text="\n \n")
    newsletter.add_alternative("<h1>News</h1><p>of the week</p>", subtype="html")

    assert [text for text, _ in texts(bytes(newsletter), "a.eml")][1:] == ["News\n\nof the week\n\n"]

    phone = (
        b"Subject: x\nContent-Type: multipart/alternative; boundary=A\n\n--A\nContent-Type: text/plain\n\n%s\n--A\n"
        b"Content-Type: multipart/mixed; boundary=B\n\n--B\nContent-Type: text/html\n\n<p>one</p>\n--B\n"
        b"Content-Type: text/csv\nContent-Disposition: inline; filename=t.csv\n\n1,2\n--B\n"
        b"Content-Type: text/html\n\n<p>two</p>\n--B--\n--A--\n"
    )
    attached = "attachment t.csv\n\n1,2"
    assert [text for text, _ in texts(phone % b"plain", "a.eml")][1:] == ["plain", attached]
    assert [text for text, _ in texts(phone % b"", "a.eml")][1:] == ["one\n\n", attached, "two\n\n"]
    goes_on_exactly(phone % b"plain", "a.eml")
    goes_on_exactly(phone % b"", "a.eml")


CHARSETS = [
    ("iso-8859-1", "8bit", "Schöne Grüße aus dem Süden."),
    ("windows-1252", "quoted-printable", "“Quoted” – naïve café, £5"),
    ("koi8-r", "base64", "Съешь же ещё этих мягких булок."),
    ("iso-2022-jp", "7bit", "これは日本語のテキストです。"),
    ("gb18030", "base64", "简体中文的信件内容。"),
    ("utf-16-le", "base64", "Wide letters, ünd möre."),
    ("utf-8", "8bit", "Füße 🦆"),
]


@pytest.mark.parametrize(("charset", "encoding", "text"), CHARSETS, ids=[row[0] for row in CHARSETS])
def test_a_mail_is_decoded_as_it_says(charset: str, encoding: str, text: str) -> None:
    """Thirty years of mail are in thirty charsets."""
    raw = (text * 4 + "\n").encode(charset)
    if encoding == "base64":
        raw = base64.encodebytes(raw)
    elif encoding == "quoted-printable":
        raw = b"".join(b"=%02X" % byte if byte > 126 or byte == 61 else bytes([byte]) for byte in raw)
    head = f"Subject: x\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {encoding}\n\n"

    assert texts(head.encode() + raw, "a.eml")[1][0] == text * 4 + "\n"


def test_a_charset_that_nobody_knows_or_that_lies_is_looked_through() -> None:
    """Mail programs of last century wrote what they liked; Python has codecs that are no charsets."""
    text = "Schöne Grüße aus dem Süden, wo die Äpfel früh blühen. " * 3
    for charset in ("x-unknown", "us-ascii", "hex", "idna", "undefined", "unicode_escape", "mbcs", '"'):
        raw = f"Subject: x\nContent-Type: text/plain; charset={charset}\n\n".encode() + text.encode("latin-1")

        assert texts(raw, "a.eml")[1][0] == text


def test_headers_are_decoded_however_they_were_written() -> None:
    """Encoded words, split characters, and plain eight-bit letters against all rules."""
    for raw, said in [
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?= aus =?iso-8859-1?b?S/ZsbiE=?=", "Grüße aus Köln!"),
        (b"=?utf-8?b?5pel?=\n =?utf-8?b?5pys?=", "日本"),
        ("Schöne Grüße aus Köln".encode(), "Schöne Grüße aus Köln"),
        ("Schöne Grüße aus Köln, wo die Äpfel blühen".encode("latin-1"), "Schöne Grüße aus Köln, wo die Äpfel blühen"),
        (b"=?utf-8?b?broken", "=?utf-8?b?broken"),
        (b"=?x-nobody?q?plain?= \\u00zz", "plain \ufffdzz"),
    ]:
        told = texts(b"Subject: " + raw + b"\nTo: a\n\nx", "a.eml")[0][0]
        assert told.startswith("To: a\nSubject: ")
        assert told.removeprefix("To: a\nSubject: ").strip() == said


def test_what_is_sealed_is_named_and_a_signature_is_not() -> None:
    """Every signed mail has a signature, which nobody looks for; an encrypted text is a loss to be told."""
    sealed = (
        b"Subject: x\nContent-Type: multipart/encrypted; boundary=A\n\n--A\nContent-Type: application/pgp-encrypted\n\n"
        b"Version: 1\n--A\nContent-Type: application/octet-stream; name=encrypted.asc\n\n-----BEGIN PGP MESSAGE-----\n"
        b"hQEMA\n--A--\n"
    )
    signed = (
        b"Subject: x\nContent-Type: multipart/signed; boundary=A\n\n--A\n\nhello\n--A\n"
        b"Content-Type: application/pgp-signature; name=signature.asc\n\n-----BEGIN PGP SIGNATURE-----\n--A--\n"
    )

    assert "attachment encrypted.asc: It is encrypted.\n" in [text for text, _ in texts(sealed, "a.eml")]
    assert "BEGIN" not in "".join(text for text, _ in texts(sealed, "a.eml"))
    assert [text for text, _ in texts(signed, "a.eml")] == ["Subject: x\n\n", "hello"]


def test_an_attachment_that_would_have_to_be_held_whole_is_bounded() -> None:
    """Memory must not grow with what somebody attached; text streams at any size."""
    limits = Limits(hold_bytes=20_000)
    mail = letter()
    mail.add_attachment("a line of text\n" * 20_000, filename="long.log", subtype="plain")
    mail.add_attachment(make.pdf(["word " * 90] * 90), maintype="application", subtype="pdf", filename="large.pdf")
    content = bytes(mail)

    told = texts(content, "a.eml", limits)

    assert sum(text.count("a line of text") for text, _ in told) == 20_000
    assert told[-1][0] == (
        "attachment large.pdf: A file of this kind is read within another file only up to 19.53 KB.\n"
    )
    goes_on_exactly(content, "a.eml", limits)


def test_a_mailbox_gives_message_by_message(tmp_path: Path) -> None:
    """`message 2: Flour` is a place that a person finds again; `>From` is how `From` is written in a mailbox."""
    content = box(tmp_path, letter("One"), full(), letter("Three", "From here on all is fine.\n\nFrom there too.\n"))

    told = texts(content, "a.mbox")

    assert [place["part"] for _, place in told if str(place["part"]).count(":") == 1][0:2] == ["message 1: One"] * 2
    assert told[-1] == ("From here on all is fine.\n\nFrom there too.\n\n", {"part": "message 3: Three"})
    inner = {place["part"] for _, place in told if "attachment t.csv" in str(place["part"])}
    assert [str(part).split(" > ")[1:] for part in inner] == [["attachment t.csv"]]
    assert texts(content, "Inbox without extension") == told
    assert texts(content, "copy of a mailbox.txt")[0][0].startswith("From MAILER-DAEMON")


def test_a_sentence_that_begins_with_from_does_not_begin_a_message() -> None:
    """Not every program escapes it."""
    content = (
        b"From a@b.example Thu Jan  1 10:00:00 2026\nSubject: one\n\nFrom here on.\n\nFrom there, too.\n\n"
        b"From b@b.example Thu Jan  1 11:00:00 2026\nSubject: two\n\nbye\n\nFrom x\nSubject: three\n\nend\n"
    )

    assert [(text.strip(), place["part"]) for text, place in texts(content, "a.mbox")] == [
        ("Subject: one", "message 1: one"),
        ("From here on.\n\nFrom there, too.", "message 1: one"),
        ("Subject: two", "message 2: two"),
        ("bye", "message 2: two"),
        ("Subject: three", "message 3: three"),
        ("end", "message 3: three"),
    ]


class Asked(BytesSource):
    """Notes where reading began."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content, name)
        self.starts: list[int] = []

    def windows(self, start: int = 0) -> Iterator[memoryview]:
        self.starts.append(start)
        return super().windows(start)


def test_going_on_in_a_mailbox_begins_at_the_message(tmp_path: Path) -> None:
    """A mailbox of gigabytes must not be read from its beginning in every life."""
    source = Asked(box(tmp_path, *(letter(f"Number {n}") for n in range(50))), "a.mbox")
    whole = list(read(source))
    after = next(part.after for part in whole if "Number 40" in str(part.locator.part))  # type: ignore[union-attr]

    assert list(read(source, None, after)) == whole[81:]
    assert source.starts[0] == 0
    assert source.starts[1] > 0.7 * len(source._content)


def samples(tmp_path: Path) -> dict[str, bytes]:
    boxed = box(tmp_path, letter("One", "word " * 3000), full(), letter("Three"))
    return {
        "a.eml": full(),
        "crlf.eml": full().replace(b"\n", b"\r\n"),
        "a.mbox": boxed,
        "crlf.mbox": boxed.replace(b"\n", b"\r\n"),
        "torn.eml": full()[:6000],
        "c.ics": calendar(),
        "c.vcf": contacts(),
    }


@pytest.mark.parametrize("name", ["a.eml", "crlf.eml", "a.mbox", "crlf.mbox", "torn.eml", "c.ics", "c.vcf"])
def test_mail_goes_on_exactly_and_arrives_in_any_pieces(name: str, tmp_path: Path) -> None:
    """A boundary may fall between two windows, a life may end in an attachment."""
    content = samples(tmp_path)[name]

    goes_on_exactly(content, name)
    arrives_in_any_pieces(content, name)


def test_a_mail_within_an_archive_is_read_and_its_attachments_are_named() -> None:
    """One level, whatever the containers are."""
    told = texts(make.zipped({"mails/a.eml": full(), "b.mbox": b"From a 10:00\nSubject: s\n\nt\n"}), "a.zip")

    assert ("Hello Ada,\n\nsee you at five.\n", {"part": "mails/a.eml"}) in told
    assert ("t\n", {"part": "b.mbox > message 1: s"}) in told
    named = [text for text, _ in told if text.startswith("attachment Résumé final.pdf: ")]
    assert named == ["attachment Résumé final.pdf: An attachment of a mail within another file is not opened.\n"]


HOSTILE = {
    "parts in parts": b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(5000)),
    "mails in mails": b"Content-Type: message/rfc822\n\n" * 50_000,
    "the same boundary": b"Content-Type: multipart/mixed; boundary=b\n\n--b\n" * 9000,
    "nothing between": b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * 30_000,
    "a long boundary": b"Content-Type: multipart/mixed; boundary=" + b"b" * 90_000 + b"\n\n--" + b"b" * 90_000,
    "signs in a boundary": b'Content-Type: multipart/mixed; boundary="(a+)+$[("\n\n--(a+)+$[(\n\nx\n--(a+)+$[(--\n',
    "quotes": b'Content-Type: text/plain; a="' + b'\\";' * 90_000 + b"\n\nx",
    "a long header": b"Subject: " + b"=?utf-8?q?a?= " * 90_000 + b"\n\nx",
    "many headers": b"".join(b"X-%d: y\n" % n for n in range(90_000)) + b"\nx",
    "folded for ever": b"Subject: x\n" + b" y\n" * 300_000,
    "one line": b"a" * 5_000_000,
    "soft lines": b"Content-Transfer-Encoding: quoted-printable\n\n" + b"a=" * 2_000_000,
    "empty base64": b"Content-Transfer-Encoding: base64\n\n" + b"=" * 3_000_000,
    "no letters": b"Content-Transfer-Encoding: base64\n\n" + b"\n." * 2_000_000,
    "numbered names": b"Content-Type: x/y; " + b"; ".join(b"name*%d=a" % n for n in range(9000)) + b"\n\nx",
    "odd name": b"Content-Type: x/y; name*=idna'en'%E4%00\nContent-Disposition: attachment; filename*9999=x\n\nx",
    "From From": b"From a 10:00\n" * 20_000,
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("name", ["a.eml", "a.mbox"])
def test_no_mail_keeps_the_reader_busy(case: str, name: str) -> None:
    """A mail comes from anybody."""
    content = b"From a@b.example Thu Jan  1 10:00:00 2026\n" * (name == "a.mbox") + HOSTILE[case]
    used = time.process_time()

    drained(read(BytesSource(content, name)))

    assert time.process_time() - used < 30


def test_a_mail_of_more_parts_than_the_bound_says_so() -> None:
    """Ten thousand attachments are an attack; the mails behind it are not."""
    many = b"Subject: many\nContent-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 40
    content = b"From a 10:00\n" + many + b"--b--\n\nFrom b 10:00\nSubject: last\n\nend\n"

    told = texts(content, "a.mbox", Limits(parts=20))

    assert ("More than 20 parts are not read.\n", {"part": "message 1: many"}) in told
    assert told[-1] == ("end\n", {"part": "message 2: last"})
    goes_on_exactly(content, "a.mbox", Limits(parts=20))


def test_trouble_with_the_mailbox_itself_is_no_attachments_fault() -> None:
    """A bound of the whole file ends the file, not one attachment."""

    class Bounded(BytesSource):
        def windows(self, start: int = 0) -> Iterator[memoryview]:
            yield from list(super().windows(start))[:3]
            raise Skipped("The file is larger than its bound.", code="too_large")

    mail = letter()
    mail.add_attachment("a line of text\n" * 60_000, filename="long.log", subtype="plain")
    given = list(read(Bounded(bytes(mail), "a.eml", window_bytes=100_000), Limits(hold_bytes=50_000)))

    assert getattr(given[-1], "reason", "") == "The file is larger than its bound."
    assert "bound" not in "".join(part.text for part in given if isinstance(part, Text))


SMALL = {
    "a.eml": bytes(letter()),
    "b.eml": full(),
    "c.mbox": b"From a 10:00\n" + bytes(letter("One")) + b"\nFrom b 11:00\n" + bytes(letter("Two")),
}


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutations(SMALL))
def test_no_mutation_of_a_mail_ends_otherwise_than_in_text_or_a_reason(mutated: tuple[str, bytes]) -> None:
    """Whatever the bytes."""
    name, content = mutated

    drained(read(BytesSource(content, name), Limits(child_seconds=5.0)))


MEASURE = """
import resource, sys
from shared.domain.chunks import pack
from shared.readers import Limits, read

MAIL = (b"From a@b.example Thu Jan  1 10:00:00 2026\\nSubject: a letter\\n"
        b"Content-Type: multipart/mixed; boundary=b\\n\\n--b\\n\\n" + b"Some words in a line.\\n" * 300 +
        b"--b\\nContent-Type: application/octet-stream; name=a.bin\\nContent-Transfer-Encoding: base64\\n\\n"
        + (b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYX" * 2 + b"\\n") * int(sys.argv[1]) + b"--b--\\n\\n")

class Endless:
    name, mime_type, size = "a.mbox", "", None
    def windows(self, start=0):
        block = memoryview(MAIL * (1 + (2 << 20) // len(MAIL)))
        for _ in range(int(sys.argv[2])):
            yield from (block[at : at + (2 << 20)] for at in range(0, len(block), 2 << 20))

list(zip(range(20), read(Endless())))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(chunk.payload) for chunk in pack(read(Endless(), Limits())))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(("lines", "blocks"), [(40, 20), (300_000, 4)])
def test_a_mailbox_of_any_size_takes_no_memory(lines: int, blocks: int) -> None:
    """Many small mails, or mails of twenty megabytes: memory is that of one window and one attachment."""
    count, grown = measured(MEASURE, str(lines), str(blocks))

    assert count > 10_000
    assert grown < 44 * 1024


def calendar() -> bytes:
    event = (
        "BEGIN:VEVENT\r\nUID:{n}@x\r\nSUMMARY:Meeting {n}\\, the long\r\n  one\r\nDTSTART;TZID=Europe/Berlin:"
        "20260301T093000\r\nDTEND:20260301T100000Z\r\nDESCRIPTION:First line\\nSecond \\; line\r\n"
        'ATTENDEE;CN="Zoë: Chair":mailto:zoe@example.com\r\nBEGIN:VALARM\r\nTRIGGER:-PT5M\r\nDESCRIPTION:Reminder\r\n'
        "END:VALARM\r\nEND:VEVENT\r\n"
    )
    zone = "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nX-LIC-LOCATION:Europe/Berlin\r\nEND:VTIMEZONE\r\n"
    events = "".join(event.format(n=n) for n in range(40))
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{zone}{events}END:VCALENDAR\r\n".encode()


def contacts() -> bytes:
    return (
        "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=\r\n=B6rg\r\n"
        "FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:J=C3=B6rg M=C3=BCller\r\nitem1.TEL;CELL:+49 1\r\n"
        "PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQSkZJRgABAQAAAQABAAD\r\n /2wBDAAMCAgICAgMCAgIDAwMDBAYEBAQEBAgGBgUGCQgK\r\n"
        "ADR;TYPE=HOME:;;Main St 1;Town;;12345;DE\r\nNOTE:line one\\nline two\\, and\r\n  more\r\nBDAY:19800517\r\n"
        "END:VCARD\r\nBEGIN:VCARD\r\nVERSION:4.0\r\nFN:Second\r\nNOTE:" + "many words " * 900 + "\r\nEND:VCARD\r\n"
    ).encode()


def test_an_event_is_one_text_in_plain_words() -> None:
    """Folded lines, escapes and numbers for dates are for machines; an alarm says nothing."""
    told = texts(calendar(), "c.ics")

    assert len(told) == 40
    text, place = told[1]
    assert text == (
        "Meeting 1, the long one\nStart: 2026-03-01 09:30\nEnd: 2026-03-01 10:00 UTC\n"
        "Description: First line\nSecond ; line\nAttendee: Zoë: Chair <zoe@example.com>\n\n"
    )
    assert place["heading"] == "Meeting 1, the long one"
    assert (place["line_first"], place["line_last"]) == (20, 32)


def test_a_contact_is_one_text_however_old_its_format() -> None:
    """Phones of 2000 wrote quoted-printable; a photo is no text."""
    told = texts(contacts(), "c.vcf")

    assert told[0][0] == (
        "Jörg Müller\nName: Müller, Jörg\nTel: +49 1\nAddress: Main St 1, Town, 12345, DE\n"
        "Note: line one\nline two, and more\nBirthday: 1980-05-17\n\n".replace("Tel:", "Telephone:")
    )
    assert len(told) > 2
    assert {place["heading"] for _, place in told[1:]} == {"Second"}


@pytest.mark.parametrize(
    "content",
    [
        b"BEGIN:VALARM\n" * 100_000,
        b"X;" * 900_000,
        b'X;"' * 500_000,
        b"A=\n" * 500_000,
        b"BEGIN:VCARD\n" + b"z" * 5_000_000,
    ],
    ids=["begun", "parameters", "quotes", "soft", "endless"],
)
def test_no_card_keeps_the_reader_busy(content: bytes) -> None:
    """Calendars are subscribed to from anywhere."""
    used = time.process_time()

    drained(read(BytesSource(content, "c.ics")))
    drained(read(BytesSource(b"N;QUOTED-PRINTABLE:" + content, "c.vcf")))

    assert time.process_time() - used < 30


def test_an_empty_mail_has_a_reason() -> None:
    """Nothing is silent."""
    assert refused(b"\n\n", "a.eml").code == "no_text"

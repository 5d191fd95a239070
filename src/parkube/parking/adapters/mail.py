"""Mail by SMTP, or into a folder for trials. The address and its secret come from the configuration alone."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import unquote, urlsplit

from parkube.parking.domain.errors import Invalid, Unavailable


class SmtpMail:
    """services.ports_people.Mail by a server: smtp://user:password@host:587 (STARTTLS), smtps://… or smtp://localhost."""

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise Invalid("the mail server's address is not smtp://host or smtps://host")
        self._parts, self._sender = parts, sender

    async def send(self, to: str, subject: str, text: str) -> None:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, to, subject
        message.set_content(text)
        try:
            await asyncio.to_thread(self._send, message)
        except (OSError, smtplib.SMTPException) as error:
            raise Unavailable("mail cannot be sent now", code="mail_unavailable") from error

    def _send(self, message: EmailMessage) -> None:
        host, secure = self._parts.hostname or "", self._parts.scheme == "smtps"
        context = ssl.create_default_context()
        if secure:
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, self._parts.port or 465, timeout=20, context=context)
        else:
            server = smtplib.SMTP(host, self._parts.port or 25, timeout=20)
        with server:
            if not secure and self._parts.username:
                # A password goes over nothing that others can read.
                server.starttls(context=context)
            if self._parts.username:
                server.login(unquote(self._parts.username), unquote(self._parts.password or ""))
            server.send_message(message)


class FolderMail:
    """Writes each message into a folder, one file an address, the latest last. For trials."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, to: str, subject: str, text: str) -> None:
        def write() -> None:
            self._folder.mkdir(parents=True, exist_ok=True)
            name = "".join(c if c.isalnum() or c in "@.-_" else "_" for c in to)
            with (self._folder / name).open("a") as file:
                file.write(f"{subject}\n{text}\n")

        await asyncio.to_thread(write)

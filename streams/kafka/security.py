"""How our clients prove who they are, and how they know that the cluster is the right one."""

import os
import ssl
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import ConfigurationError

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]


class SecuritySettings(BaseSettings):
    """The security of the connections to Kafka; checked, with every file, when it is made.

    Raises: ConfigurationError where settings contradict each other, one is missing, or a file
    is not what it should be. Files are read once: a renewed certificate counts from the next
    start on.
    """

    model_config = SettingsConfigDict(
        env_prefix="LORELAY_", extra="ignore", hide_input_in_errors=True, allow_inf_nan=False
    )

    kafka_security: Security = Field(
        default="PLAINTEXT", description="PLAINTEXT, SSL (with TLS), SASL_PLAINTEXT or SASL_SSL."
    )
    kafka_username: str | None = Field(default=None, description="The user, for SASL.")
    kafka_password: SecretStr | None = Field(default=None, description="The user's password.")
    kafka_password_file: Path | None = Field(
        default=None, description="A file that holds the password, in its place."
    )
    kafka_sasl_mechanism: Mechanism = Field(
        default="SCRAM-SHA-512", description="SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN."
    )
    kafka_ca: Path | None = Field(
        default=None,
        description="PEM file of the CA that signed the brokers' certificates; default: the "
        "system's CAs.",
    )
    kafka_certificate: Path | None = Field(
        default=None, description="PEM file of this client's certificate, for mutual TLS."
    )
    kafka_key: Path | None = Field(default=None, description="PEM file of its private key.")
    kafka_key_password: SecretStr | None = Field(
        default=None, description="What the private key is encrypted with."
    )

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.kafka_security in ("SSL", "SASL_SSL")

    @property
    def uses_sasl(self) -> bool:
        """Whether a user name and password are presented."""
        return self.kafka_security in ("SASL_PLAINTEXT", "SASL_SSL")

    @property
    def principal(self) -> str:
        """Who we are to the cluster, for a person to read."""
        if self.uses_sasl:
            return f"user {self.kafka_username}"
        if self.kafka_certificate is not None:
            return f"the owner of {self.kafka_certificate}"
        return "this client"

    @cached_property
    def password(self) -> str | None:
        """The user's password, from the variable or the file."""
        if self.kafka_password is not None:
            return self.kafka_password.get_secret_value()
        if self.kafka_password_file is not None:
            try:
                return self.kafka_password_file.read_text(encoding="utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise ConfigurationError(
                    f"LORELAY_KAFKA_PASSWORD_FILE: {self.kafka_password_file} is not UTF-8."
                ) from None
        return None

    @cached_property
    def ssl_context(self) -> ssl.SSLContext | None:
        """What encrypts connections and checks the brokers' certificates; None without TLS."""
        if not self.uses_tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.kafka_ca)
        except ssl.SSLError:
            raise ConfigurationError(
                f"{self.kafka_ca} holds no certificate in PEM form: set LORELAY_KAFKA_CA to the "
                "PEM file of the CA that signed the brokers' certificates."
            ) from None
        if self.kafka_certificate is not None:
            self._load_certificate(context)
        return context

    def security_kwargs(self) -> dict[str, Any]:
        """The part of an aiokafka client's arguments that is about security."""
        found: dict[str, Any] = {"security_protocol": self.kafka_security}
        if self.uses_tls:
            found["ssl_context"] = self.ssl_context
        if self.uses_sasl:
            found["sasl_mechanism"] = self.kafka_sasl_mechanism
            found["sasl_plain_username"] = self.kafka_username
            found["sasl_plain_password"] = self.password
        return found

    def librdkafka_security(self) -> dict[str, str]:
        """The same as librdkafka's properties."""
        key_password = self.kafka_key_password and self.kafka_key_password.get_secret_value()
        known = {
            "sasl.mechanism": self.kafka_sasl_mechanism if self.uses_sasl else None,
            "sasl.username": self.kafka_username,
            "sasl.password": self.password,
            "ssl.ca.location": self.kafka_ca,
            "ssl.certificate.location": self.kafka_certificate,
            "ssl.key.location": self.kafka_key,
            "ssl.key.password": key_password,
        }
        found = {name: str(value) for name, value in known.items() if value is not None}
        return {"security.protocol": self.kafka_security} | found

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_sasl()
        self._check_tls()
        for name in ("ca", "certificate", "key", "password_file"):
            path: Path | None = getattr(self, f"kafka_{name}")
            if path is not None and not (path.is_file() and os.access(path, os.R_OK)):
                raise ConfigurationError(
                    f"LORELAY_KAFKA_{name.upper()}: there is no file {path} that can be read."
                )
        if self.uses_sasl and not self.password:
            raise ConfigurationError(
                f"LORELAY_KAFKA_SECURITY={self.kafka_security} needs a password: set "
                "LORELAY_KAFKA_PASSWORD, or LORELAY_KAFKA_PASSWORD_FILE to a file that holds it."
            )
        _ = self.ssl_context
        return self

    def _check_sasl(self) -> None:
        if not self.uses_sasl:
            self._must_be_unset("username", "password", "password_file", wants="SASL_SSL")
        elif not self.kafka_username:
            raise ConfigurationError(
                f"LORELAY_KAFKA_SECURITY={self.kafka_security} needs a user: set "
                "LORELAY_KAFKA_USERNAME."
            )
        elif self.kafka_password is not None and self.kafka_password_file is not None:
            raise ConfigurationError(
                "LORELAY_KAFKA_PASSWORD and LORELAY_KAFKA_PASSWORD_FILE are both set: unset one."
            )

    def _check_tls(self) -> None:
        if not self.uses_tls:
            self._must_be_unset("ca", "certificate", "key", "key_password", wants="SSL or SASL_SSL")
        for given, needed in (("certificate", "key"), ("key", "certificate")):
            if getattr(self, f"kafka_{given}") and not getattr(self, f"kafka_{needed}"):
                raise ConfigurationError(
                    f"LORELAY_KAFKA_{given.upper()} is set without the {needed} that belongs to "
                    f"it: set LORELAY_KAFKA_{needed.upper()}, too."
                )

    def _must_be_unset(self, *names: str, wants: str) -> None:
        for name in names:
            if getattr(self, f"kafka_{name}") is not None:
                raise ConfigurationError(
                    f"LORELAY_KAFKA_{name.upper()} is set, but would not be used with "
                    f"LORELAY_KAFKA_SECURITY={self.kafka_security}: set that to {wants}, or "
                    "unset the other."
                )

    def _load_certificate(self, context: ssl.SSLContext) -> None:
        secret = self.kafka_key_password
        # Never None: OpenSSL would ask for the password of an encrypted key at the terminal.
        key_password = "" if secret is None else secret.get_secret_value()
        assert self.kafka_certificate is not None
        try:
            context.load_cert_chain(self.kafka_certificate, self.kafka_key, lambda: key_password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "it can't be read"
            raise ConfigurationError(
                f"The certificate {self.kafka_certificate} can't be used with the key "
                f"{self.kafka_key} ({reason}): set LORELAY_KAFKA_CERTIFICATE and LORELAY_KAFKA_KEY "
                "to PEM files that belong together, and LORELAY_KAFKA_KEY_PASSWORD where the key "
                "is encrypted."
            ) from None

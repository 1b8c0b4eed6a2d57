"""A provider for Terraform that only tells its schema: `python -m infra.checks.plugin SCHEMA`.

Terraform starts it and speaks gRPC with it, as with every provider. Of what it is asked while something is validated,
only the schema has content; all else is answered with the empty message, which says "nothing is wrong with that".
https://github.com/hashicorp/go-plugin/blob/main/docs/internals.md
"""

from __future__ import annotations

import base64
import datetime
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PROTOCOL = 6
_UNLIMITED = [("grpc.max_send_message_length", -1)]


class Answers(grpc.GenericRpcHandler):
    """Every method of a provider, in bytes."""

    def __init__(self, schema: bytes) -> None:
        self._schema = schema
        self.server: grpc.Server

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler:
        """How a method is answered."""
        method = handler_call_details.method.rpartition("/")[2]
        if method == "StreamStdio":
            return grpc.unary_stream_rpc_method_handler(lambda _request, _context: iter(()))
        return grpc.unary_unary_rpc_method_handler(getattr(self, f"_{method}", lambda _request, _context: b""))

    def _GetMetadata(self, _request: bytes, context: grpc.ServicerContext) -> bytes:  # noqa: N802 - Terraform's names
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Ask for the schema.")
        return b""

    def _GetProviderSchema(self, _request: bytes, _context: grpc.ServicerContext) -> bytes:  # noqa: N802
        return self._schema

    def _Shutdown(self, _request: bytes, _context: grpc.ServicerContext) -> bytes:  # noqa: N802
        self.server.stop(0)
        return b""


def serve(schema: bytes) -> None:
    """Tell Terraform where to call, and answer until it says stop."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(key)
    credentials = grpc.ssl_server_credentials(
        [
            (
                key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
                ),
                certificate.public_bytes(serialization.Encoding.PEM),
            )
        ]
    )
    answers = Answers(schema)
    answers.server = grpc.server(ThreadPoolExecutor(4), handlers=[answers], options=_UNLIMITED)
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/provider.sock"
        answers.server.add_secure_port(f"unix://{socket}", credentials)
        answers.server.start()
        shown = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).rstrip(b"=").decode()
        print(f"1|{_PROTOCOL}|unix|{socket}|grpc|{shown}", flush=True)
        answers.server.wait_for_termination()


def _certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


if __name__ == "__main__":
    serve(Path(sys.argv[1]).read_bytes())

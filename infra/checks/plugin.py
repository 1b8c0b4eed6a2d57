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

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_PROTOCOL = 6
_UNLIMITED = [("grpc.max_send_message_length", -1)]
_CHECKS = ("ValidateProviderConfig", "ValidateResourceConfig", "ValidateDataResourceConfig", "StopProvider")


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
    server = grpc.server(ThreadPoolExecutor(4), options=_UNLIMITED)
    server.add_generic_rpc_handlers(_handlers(schema, server))
    with tempfile.TemporaryDirectory() as folder:
        socket = f"{folder}/provider.sock"
        server.add_secure_port(f"unix://{socket}", credentials)
        server.start()
        shown = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).rstrip(b"=").decode()
        print(f"1|{_PROTOCOL}|unix|{socket}|grpc|{shown}", flush=True)
        server.wait_for_termination()


def _handlers(schema: bytes, server: grpc.Server) -> list[grpc.GenericRpcHandler]:
    """The three services of a plugin. A method that is not here is refused, after which Terraform asks another one."""

    def stop(_request: bytes, _context: grpc.ServicerContext) -> bytes:
        server.stop(0)
        return b""

    provider = {name: grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"") for name in _CHECKS}
    provider["GetProviderSchema"] = grpc.unary_unary_rpc_method_handler(lambda _request, _context: schema)
    silence = grpc.unary_stream_rpc_method_handler(lambda _request, _context: iter(()))
    return [
        grpc.method_handlers_generic_handler("tfplugin6.Provider", provider),
        grpc.method_handlers_generic_handler(
            "plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(stop)}
        ),
        grpc.method_handlers_generic_handler("plugin.GRPCStdio", {"StreamStdio": silence}),
    ]


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

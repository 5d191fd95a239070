"""Keys, certificates and tokens of one cluster, under `<data-dir>/server`. Knows files and X.509, nothing else.

Three authorities: the server CA signs only the API server's own certificate, so an agent that trusts it can be fooled
by nobody else's; the client CA signs everyone who calls the API, and certificates asked for by CSR; the request-header
CA signs the one certificate with which the server speaks for its clients to API servers behind Services.
"""

from parkube.controlplane.pki.ensure import Pki, ensure
from parkube.controlplane.pki.errors import PkiError

__all__ = ["Pki", "PkiError", "ensure"]

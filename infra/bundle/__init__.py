"""What is deployed: for each function a folder and a ZIP with its own code, and nothing that it does not reach.

`contents` says which files, from the imports as they are written; `build` writes them, the same bytes for the same
commit, with a manifest that names each by its hash.
"""

from infra.bundle.build import MANIFEST, Bundle, build
from infra.bundle.contents import FUNCTIONS, BundleError, contents, reached

__all__ = ["FUNCTIONS", "MANIFEST", "Bundle", "BundleError", "build", "contents", "reached"]

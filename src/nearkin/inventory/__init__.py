"""What lies in output folders: which studies and runs there are, how far they are, and whether they are whole.

Reads files only; imports no torch. Nothing here trusts what it reads: a file may be cut off, edited or hostile.
"""

from nearkin.inventory.check import check_run, check_study, examine
from nearkin.inventory.find import find, is_run, is_study
from nearkin.inventory.findings import Finding
from nearkin.inventory.summary import RunSummary, StudySummary, describe_run, summarize, summarize_study

__all__ = [
    "Finding",
    "RunSummary",
    "StudySummary",
    "check_run",
    "check_study",
    "describe_run",
    "examine",
    "find",
    "is_run",
    "is_study",
    "summarize",
    "summarize_study",
]

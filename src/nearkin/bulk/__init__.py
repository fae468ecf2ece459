"""Embedding sets of any size: part by part into a folder of Parquet files, on this machine or over Ray."""

from nearkin.bulk.job import Job, Summary, check_engine, embed_parts
from nearkin.bulk.parts import parts_of

__all__ = ["Job", "Summary", "check_engine", "embed_parts", "parts_of"]

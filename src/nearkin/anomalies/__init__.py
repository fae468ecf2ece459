"""The anomaly use: which images are unlike the training images, and whether a good score for that was earned.

``rank`` scores the images of one embedding. ``judge_embeddings`` and ``judge_trivial`` measure one embedding, and the scores
that need no learning, against out-of-distribution sets in the same JSON shape; ``compare`` puts them into one table with a
verdict. ``anomaly_table`` does all of it at once.
"""

from nearkin.anomalies.image_scores import has_unseen, inside_rows, rank, train_rows
from nearkin.anomalies.judge import TEST, judge_embeddings, judge_trivial
from nearkin.anomalies.ood_eval import against, class_tables
from nearkin.anomalies.ood_map import JointMap, joint_map
from nearkin.anomalies.ood_sets import InSet, OodSet, digit_sets, foreign_sets
from nearkin.anomalies.probe_correlation import probe_predicts_auc
from nearkin.anomalies.published import PUBLISHED
from nearkin.anomalies.table import anomaly_table, compare, table_of
from nearkin.anomalies.verdict import Entry

__all__ = [
    "PUBLISHED",
    "TEST",
    "Entry",
    "InSet",
    "JointMap",
    "OodSet",
    "against",
    "anomaly_table",
    "class_tables",
    "compare",
    "digit_sets",
    "foreign_sets",
    "has_unseen",
    "inside_rows",
    "joint_map",
    "judge_embeddings",
    "judge_trivial",
    "probe_predicts_auc",
    "rank",
    "table_of",
    "train_rows",
]

"""The anomaly use: which images are unlike the training images, and whether a good score for that was earned.

In the order of reading: ``detectors`` (the scores), ``baseline_detectors`` (scores that need no learning), ``image_scores``
(every image of one embedding; ``nearkin.anomaly_scores``), ``ood_sets`` (foreign images), ``ood_metrics`` (AUROC and the like),
``diagnostics`` and ``outlier_overlap`` (what explains them), ``ood_eval`` (one embedding, measured), ``table`` (all of them,
and the verdict, beside ``published`` figures); then ``command`` with ``output`` (``nearkin anomalies``) and ``study_step``.
"""

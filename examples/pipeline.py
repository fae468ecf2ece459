"""An estimator in a scikit-learn Pipeline: embed without labels, then a probe with few; a grid search over both.

Run: python examples/pipeline.py
"""

from __future__ import annotations

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nearkin import PixelPCA, VICReg, data


def main() -> None:
    splits = data.split(data.load("shapes", progress=False), subset=1200)
    X, y = splits.train.images, splits.train.labels
    X_test, y_test = splits.test.images[:500], splits.test.labels[:500]
    vicreg = VICReg(
        encoder="fast-tiny",
        projector=(64, 64),
        recipe="simple",
        invariance_weight=10.0,
        optimizer="muon",
        muon_lr=0.04,
        epochs=4,
        batch_size=64,
        random_state=0,
    )
    probe = LogisticRegression(C=0.01, max_iter=1000)
    search = GridSearchCV(
        make_pipeline(vicreg, StandardScaler(), probe),
        {"vicreg__layer": ["backbone", "projector"]},
        cv=2,
    ).fit(X, y)
    baseline = make_pipeline(PixelPCA(n_components=64), StandardScaler(), probe).fit(X, y)
    print(f"chosen by cross-validation: {search.best_params_}")
    print(
        f"test accuracy: VICReg {100 * search.score(X_test, y_test):.1f} %, PCA of pixels {100 * baseline.score(X_test, y_test):.1f} %"
    )


if __name__ == "__main__":
    main()

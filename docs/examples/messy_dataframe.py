"""A data scientist: from a messy table and own vectors to named features, and which of them go with the rating.

PRISMA_URL=http://127.0.0.1:8080 python docs/examples/messy_dataframe.py reviews.csv vectors.npy
"""

import sys

import numpy as np
import pandas as pd

from prisma_client import Prisma

reviews = pd.read_csv(sys.argv[1], parse_dates=["date"])  # with gaps, empty texts and repeated ids
vectors = np.load(sys.argv[2])  # by your own model, one for each row; without them, data.embed() makes vectors
prisma = Prisma()
data = prisma.datasets.create("Reviews", reviews, id_field="review", text_field="body", vectors=vectors)
run = data.train()
run.label()
features = run.features(filter="dead = false", order_by="trust").to_pandas()
ratings = run.analyses.associate_metadata("rating", kind="number", features="dead = false").to_pandas()
hits = data.search(vector=vectors[0], run=run, limit=20).to_pandas()

print(features[["index", "label", "trust", "score", "density"]].head(10).to_string())
print(ratings[["feature.label", "effect", "q_value", "confirmed"]].head(5).to_string(max_colwidth=60))
print(hits[["key", "snippet", "metadata.rating", "features"]].head(5).to_string(max_colwidth=60))

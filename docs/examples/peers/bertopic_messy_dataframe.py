"""The job of messy_dataframe.py with BERTopic, from its documentation. Not run here: only its lines are counted."""

import sys

import numpy as np
import pandas as pd
from bertopic import BERTopic
from scipy.stats import false_discovery_control, mannwhitneyu
from sentence_transformers import SentenceTransformer

reviews = pd.read_csv(sys.argv[1], parse_dates=["date"])
reviews = reviews[reviews["body"].fillna("").str.strip() != ""].drop_duplicates("review").reset_index(drop=True)
docs = reviews["body"].tolist()
model = SentenceTransformer("all-MiniLM-L6-v2")
embeddings = model.encode(docs, show_progress_bar=True)
topic_model = BERTopic(embedding_model=model)
topics, _ = topic_model.fit_transform(docs, embeddings)
info = topic_model.get_topic_info()
reviews["topic"] = topics

rows = []
rated = reviews[reviews["rating"].notna()]
for topic in info["Topic"]:
    inside, outside = rated["topic"] == topic, rated["topic"] != topic
    if inside.sum() > 1:
        effect = rated.loc[inside, "rating"].mean() - rated.loc[outside, "rating"].mean()
        p_value = mannwhitneyu(rated.loc[inside, "rating"], rated.loc[outside, "rating"]).pvalue
        rows.append({"topic": topic, "effect": effect, "p_value": p_value})
ratings = pd.DataFrame(rows)
ratings["q_value"] = false_discovery_control(ratings["p_value"])
ratings = ratings.merge(info, left_on="topic", right_on="Topic").sort_values("q_value")

query = model.encode([sys.argv[2]])[0]
scores = embeddings @ query / (np.linalg.norm(embeddings, axis=1) * np.linalg.norm(query))
hits = reviews.assign(score=scores).nlargest(20, "score").merge(info, left_on="topic", right_on="Topic")

print(info[["Topic", "Name", "Count"]].head(10).to_string())
print(ratings[["Name", "effect", "q_value"]].head(5).to_string(max_colwidth=60))
print(hits[["review", "body", "rating", "Name"]].head(5).to_string(max_colwidth=60))

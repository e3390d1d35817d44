"""The job of messy_dataframe.py with BERTopic, from its documentation."""

import sys

import numpy as np
import pandas as pd
from bertopic import BERTopic
from scipy.stats import false_discovery_control, mannwhitneyu

reviews = pd.read_csv(sys.argv[1], parse_dates=["date"])
embeddings = np.load(sys.argv[2])
usable = (reviews["body"].fillna("").str.strip() != "") & ~reviews["review"].duplicated() & embeddings.any(axis=1)
query, reviews, embeddings = embeddings[0], reviews[usable].reset_index(drop=True), embeddings[usable]
docs = reviews["body"].tolist()
topic_model = BERTopic()
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

scores = embeddings @ query / (np.linalg.norm(embeddings, axis=1) * np.linalg.norm(query))
hits = reviews.assign(score=scores).nlargest(20, "score").merge(info, left_on="topic", right_on="Topic")

print(info[["Topic", "Name", "Count"]].head(10).to_string())
print(ratings[["Name", "effect", "q_value"]].head(5).to_string(max_colwidth=60))
print(hits[["review", "body", "rating", "Name"]].head(5).to_string(max_colwidth=60))

"""The job of without_a_server.py with SAELens, from its documentation. Not run here: only its lines are counted."""

import sys

import numpy as np
import torch
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer

X = torch.tensor(np.load(sys.argv[1]), dtype=torch.float32)
order = torch.randperm(len(X), generator=torch.Generator().manual_seed(0))
held_out, train = X[order[: len(X) // 10]], X[order[len(X) // 10 :]]
mean, scale = train.mean(dim=0), train.std(dim=0)


def batches(batch_size):
    while True:
        for rows in torch.randperm(len(train)).split(batch_size):
            yield (train[rows] - mean) / scale


for k in (2, 4, 8):
    torch.manual_seed(0)
    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=X.shape[1], d_sae=128, k=k))
    trainer = SAETrainer(
        cfg=SAETrainerConfig(
            n_checkpoints=0,
            checkpoint_path=None,
            save_final_checkpoint=False,
            total_training_samples=1000 * 512,
            device="cpu",
            autocast=False,
            lr=3e-4,
            lr_end=3e-5,
            lr_scheduler_name="constant",
            lr_warm_up_steps=50,
            adam_beta1=0.9,
            adam_beta2=0.999,
            lr_decay_steps=300,
            n_restart_cycles=1,
            train_batch_size_samples=512,
            dead_feature_window=1000,
            feature_sampling_window=2000,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        sae=sae,
        data_provider=batches(512),
    )
    trainer.fit()
    with torch.no_grad():
        unexplained = (held_out - mean) / scale - sae((held_out - mean) / scale)
        fvu = unexplained.square().sum() / ((held_out - mean) / scale).square().sum()
        dead = (sae.encode((X - mean) / scale) > 0).sum(dim=0) == 0
    print(f"k {k}: FVU {fvu:.3f}, {int(dead.sum())} dead latents")

codes = sae.encode((X - mean) / scale)
print("strongest vectors of the latent 0:", codes[:, 0].argsort(descending=True)[:5])
sae.save_inference_model(sys.argv[2])

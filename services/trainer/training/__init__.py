"""Training in a process of its own: launched by the trainer, reporting to it, restarted from checkpoints."""

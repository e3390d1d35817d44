"""Everything that needs torch, the extra `trainer-gpu`: GPUs, several processes, torch files. Nothing else imports it
before it is needed."""

"""The services of PRISMA, each a process of its own."""

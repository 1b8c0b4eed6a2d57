"""What a release needs besides Terraform. It runs where only Python is, so it imports nothing else."""

"""What `./dev infra` looks at: that Terraform is well-formed, says what the code needs and no more, and is safe."""

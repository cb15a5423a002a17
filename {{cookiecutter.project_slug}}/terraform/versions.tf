terraform {
  # Write-only arguments, which keep secret values out of the state, came with 1.11; locks in S3 itself with 1.10.
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }

  # One state a stage. Its place differs between stages, and a backend reads no variables: `terraform init` gets
  # -backend-config=bucket=..., -backend-config=key=... and -backend-config=region=...
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

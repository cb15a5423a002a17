terraform {
  # Locks in S3 itself came with 1.10, write-only arguments of the other root with 1.11.
  required_version = ">= 1.11"

  # Messages of 1 MiB came with 6.8; 6.23 was the first to tag buckets by the rights that the roles of pipelines have
  # (s3:TagResource). Which one it is exactly stands in .terraform.lock.hcl, which `terraform init` writes: commit it.
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.23"
    }
  }

  # One state a stage. Its place differs between stages, and a backend reads no variables: `terraform init` gets
  # -backend-config=bucket=..., -backend-config=key=... and -backend-config=region=...
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

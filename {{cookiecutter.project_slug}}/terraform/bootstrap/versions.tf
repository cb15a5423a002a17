terraform {
  # Write-only arguments, which keep secret values out of the state, came with 1.11; locks in S3 itself with 1.10.
  required_version = ">= 1.11"

  # Messages of 1 MiB came with 6.8; 6.23 was the first to tag buckets by the rights that the roles of pipelines have
  # (s3:TagResource). Which one it is exactly stands in .terraform.lock.hcl, which `terraform init` writes: commit it.
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.23"
    }
  }

  # In the bucket that this root makes its own: `make bootstrap` creates it, empty, before the first init.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

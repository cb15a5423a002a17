"""Objects on S3, queues on SQS, secrets in SSM: the only room that knows boto3, which is imported when first used."""

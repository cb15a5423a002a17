# What each kind of step may do on AWS beyond its own queue, its dead-letter queue and the queues it sends to. Written
# here and nowhere else: roles are made from it. In a pattern, `{service}` stands for the service's name.

locals {
  # Secrets of a login, as config/<stage>.yml chooses it.
  qualtrics_login = try(local.config.qualtrics.auth, "api_token") == "oauth" ? ["qualtrics_client_id", "qualtrics_client_secret"] : ["qualtrics_api_token"]
  sftp_login      = try(local.config.sftp.auth, "private_key") == "password" ? ["sftp_password"] : ["sftp_private_key"]

  # The ledger is common ground: a service marks its arrival with the one that waits for all batches.
  may_all = {
    read  = ["ledger/*"]
    write = ["ledger/*"]
  }

  may = {
    fetch_sftp_file = {
      read    = ["files/*", "payloads/*/{service}/*"]
      write   = ["files/*", "payloads/*/{service}/*"]
      delete  = ["payloads/*/{service}/*"] # what turns out to be known already
      secrets = local.sftp_login
    }
    parse_file = {
      read    = ["payloads/*"]
      write   = ["payloads/*/{service}/*", "rejects/*/{service}/*"]
      delete  = []
      secrets = []
    }
    create_mailing_list = {
      read    = ["payloads/*/{service}/*"]
      write   = ["payloads/*/{service}/*"]
      delete  = []
      secrets = local.qualtrics_login
    }
    import_contacts = {
      read    = ["payloads/*"]
      write   = ["payloads/*/{service}/*", "payloads/*/halves/*", "rejects/*/{service}/*"] # halves of too large a batch
      delete  = []
      secrets = local.qualtrics_login
    }
    schedule_distribution = {
      read    = ["payloads/*/{service}/*"]
      write   = ["payloads/*/{service}/*"]
      delete  = []
      secrets = local.qualtrics_login
    }
    schedule_reminder = {
      read    = ["payloads/*/{service}/*"]
      write   = ["payloads/*/{service}/*"]
      delete  = []
      secrets = local.qualtrics_login
    }
  }

  permissions = {
    for service, each in local.services : service => {
      read    = [for keys in concat(local.may_all.read, local.may[each.kind].read) : replace(keys, "{service}", service)]
      write   = [for keys in concat(local.may_all.write, local.may[each.kind].write) : replace(keys, "{service}", service)]
      delete  = [for keys in local.may[each.kind].delete : replace(keys, "{service}", service)]
      secrets = local.may[each.kind].secrets
    }
  }

  secrets = toset(flatten(values(local.permissions)[*].secrets))
}

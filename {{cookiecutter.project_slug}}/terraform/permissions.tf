# What each kind of step may do on AWS beyond its own queue, its dead-letter queue and the queues it sends to. Written
# here and nowhere else: roles are made from it. In a pattern, `{service}` stands for the service's name. `pace/` is
# where those that call Qualtrics share its requests a minute.

# Names of the secrets of each login, as config/<stage>.yml chooses it.
module "logins" {
  source = "./modules/logins"

  config = local.config
}

locals {
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
      secrets = module.logins.sftp
    }
    receive_post = {
      read    = ["files/*", "payloads/*/{service}/*"]
      write   = ["files/*", "payloads/*/{service}/*"]
      delete  = []
      secrets = module.logins.post
    }
    parse_file = {
      read    = ["payloads/*"]
      write   = ["payloads/*/{service}/*", "rejects/*/{service}/*"]
      delete  = []
      secrets = []
    }
    create_mailing_list = {
      read    = ["pace/*", "payloads/*/{service}/*"]
      write   = ["pace/*", "payloads/*/{service}/*"]
      delete  = []
      secrets = module.logins.qualtrics
    }
    import_contacts = {
      read    = ["pace/*", "payloads/*"]
      write   = ["pace/*", "payloads/*/{service}/*", "payloads/*/halves/*", "rejects/*/{service}/*", "outcomes/*/{service}/*"] # halves of batches that can't be sent whole
      delete  = []
      secrets = module.logins.qualtrics
    }
    schedule_distribution = {
      read    = ["pace/*", "payloads/*/{service}/*"]
      write   = ["pace/*", "payloads/*/{service}/*"]
      delete  = []
      secrets = module.logins.qualtrics
    }
    schedule_reminder = {
      read    = ["pace/*", "payloads/*/{service}/*"]
      write   = ["pace/*", "payloads/*/{service}/*"]
      delete  = []
      secrets = module.logins.qualtrics
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
}

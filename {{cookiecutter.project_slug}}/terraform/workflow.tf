# What workflow.yml and config/<stage>.yml say, in the form that the modules take. No other file reads them.

locals {
  workflow = yamldecode(file("${path.root}/../workflow.yml"))
  config   = yamldecode(file("${path.root}/../config/${var.stage}.yml"))

  prefix           = "${local.workflow.name}-${var.stage}"
  parameter_prefix = "/${local.workflow.name}/${var.stage}"

  # Empty in a stage that nobody has filled in yet.
  account_id = local.config.aws_account_id == null ? "" : tostring(local.config.aws_account_id)

  services = {
    for service, given in local.workflow.services : service => {
      kind            = given.kind
      name            = "${local.prefix}-${replace(service, "_", "-")}"
      serial          = tostring(given.concurrency) == "serial"
      timeout_seconds = given.timeout_seconds
      every_seconds   = local.every_seconds[service]

      # In a FIFO queue a deferral is a receive too: there the function counts its tries, and the queue hardly at all.
      max_receive_count = tostring(given.concurrency) == "serial" ? 1000 : given.max_receive_count
    }
  }

  # How long it is from one run of a service to the next at most, in seconds; null without a schedule, and where a
  # schedule is too rare or too odd to be waited for. A cron has minute, hour, day, month, weekday and year.
  units     = { minute = 60, hour = 3600, day = 86400 }
  schedules = { for service, given in local.workflow.services : service => tostring(try(given.schedule, "")) }
  rates     = { for service, schedule in local.schedules : service => try(regex("^rate\\((\\d+) (minute|hour|day)s?\\)$", schedule), null) }
  crons     = { for service, schedule in local.schedules : service => try(split(" ", regex("^cron\\((\\S+ \\S+ \\S+ \\S+ \\S+ \\S+)\\)$", schedule)[0]), null) }
  every_seconds = {
    for service in keys(local.schedules) : service => (
      local.rates[service] != null ? local.rates[service][0] * local.units[local.rates[service][1]]
      : local.crons[service] == null ? null
      : !contains(["*", "?"], local.crons[service][2]) || local.crons[service][3] != "*" || local.crons[service][5] != "*" ? null
      : contains(["MON-FRI", "2-6"], local.crons[service][4]) ? 3 * 86400
      : !contains(["*", "?"], local.crons[service][4]) ? null
      : local.crons[service][1] != "*" ? 86400
      : try(60 * regex("^H/(\\d+)$", local.crons[service][0])[0], 3600)
    )
  }

  # Who stands behind a service in any chain: a service in several chains has several followers, which is a branch.
  next_services = {
    for service in keys(local.services) : service => distinct(flatten([
      for chain in values(local.workflow.chains) : [
        for position, name in chain : chain[position + 1] if name == service && position + 1 < length(chain)
      ]
    ]))
  }

  # Kinds of steps that get a message for each batch of a run; all others get one a run.
  batch_kinds    = ["import_contacts"]
  batch_services = [for service, each in local.services : service if contains(local.batch_kinds, each.kind)]

  # Where a run is cut into batches and there are none (a file without good rows), the service before the cut tells
  # those that wait for all batches. So it must reach the first services behind the batches too, up to eight services
  # further on: a service, then what two of them reach, then what four and eight do.
  within_1 = {
    for service, next in local.next_services : service => concat([service], [
      for name in next : name if contains(local.batch_services, name)
    ])
  }
  within_2 = { for service, all in local.within_1 : service => distinct(flatten([for each in all : local.within_1[each]])) }
  within_4 = { for service, all in local.within_2 : service => distinct(flatten([for each in all : local.within_2[each]])) }
  within_8 = { for service, all in local.within_4 : service => distinct(flatten([for each in all : local.within_4[each]])) }
  waiting_services = {
    for service in keys(local.services) : service => distinct(flatten([
      for between in setsubtract(local.within_8[service], [service]) : [
        for name in local.next_services[between] : name if !contains(local.batch_services, name)
      ]
    ]))
  }
  recipients = {
    for service, next in local.next_services : service =>
    contains(local.batch_services, service) ? next : distinct(concat(next, local.waiting_services[service]))
  }

  # Made from names, since a module called for each service can't refer to its own other instances.
  queue_arns = {
    for service, each in local.services : service => join(":", [
      "arn", data.aws_partition.current.partition, "sqs", local.config.aws_region, local.account_id,
      each.serial ? "${each.name}.fifo" : each.name,
    ])
  }

  # Made from names too: the parameters are of the bootstrap root, so that no pipeline itself reads a secret.
  secret_arns = {
    for secret in module.logins.all : secret => join(":", [
      "arn", data.aws_partition.current.partition, "ssm", local.config.aws_region, local.account_id,
      "parameter${local.parameter_prefix}/${secret}",
    ])
  }
}

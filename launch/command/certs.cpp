// Certificates for a coordinator and its workers: a folder of one's own for each machine.
#include <fmt/format.h>

#include "comm/backend/grpc/certificates.h"
#include "launch/command/command.h"
#include "launch/command/command_line.h"

namespace thinwire::launch {
namespace {

struct Options {
  comm::CertificateOptions certificates;
  int workers = 0;
};

int run_certs(const Options& options) {
  comm::CertificateOptions own = options.certificates;
  for (int worker = 0; worker < options.workers; ++worker)
    own.names.push_back(fmt::format("worker-{}", worker));
  if (own.names.empty()) throw UsageError("nothing to make: expected -n or --name");
  for (const std::string& folder : comm::make_certificates(own)) fmt::print("{}\n", folder);
  return kSuccess;
}

}  // namespace

Run declare_certs(const CommandLine& line) {
  auto options = std::make_shared<Options>();
  comm::CertificateOptions& own = options->certificates;
  line.option("-o,--output", own.dir, "The folder: ca.crt and ca.key, and a folder NAME for each certificate")
      .required();
  line.option("-n,--workers", options->workers, "Make worker-0, worker-1, ...").check(whole_number(0));
  line.option("--name", own.names, "Further names; `coordinator` if this is not given");
  line.option("--host", own.hosts, "Names and addresses of the machines, besides localhost and 127.0.0.1");
  line.option("--days", own.days, "Days until they expire").check(whole_number(1));
  return [options] { return run_certs(*options); };
}

}  // namespace thinwire::launch

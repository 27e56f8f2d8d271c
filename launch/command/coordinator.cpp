// Where workers on several machines find each other; it ends with their job.
#include "comm/backend/grpc/coordinator.h"

#include <fmt/format.h>

#include <chrono>
#include <future>

#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "launch/command/local_worker.h"
#include "launch/line_writer.h"
#include "launch/stop_signals.h"

namespace thinwire::launch {
namespace {

using comm::Coordinator;

struct Options {
  comm::CoordinatorOptions coordinator;
  std::string token_file;
};

// From any thread, and none waits for a reader.
void say(const std::string& line) {
  standard_output().write(line + "\n", LineWriter::Kind::kKept);
}

// Ctrl-C and SIGTERM end the coordinator; a complete world goes on without it.
Coordinator::Outcome wait_or_stop(Coordinator& coordinator) {
  const StopSignals signals({});
  auto outcome = std::async(std::launch::async, [&] { return coordinator.wait(); });
  while (outcome.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready) {
    if (signals.signal() != 0) coordinator.stop();
  }
  return outcome.get();
}

int run_coordinator(const Options& options) {
  ignore_closed_pipes();
  comm::CoordinatorOptions own = options.coordinator;
  own.token = read_token(options.token_file);
  own.on_message = say;
  Coordinator coordinator(own);
  say(fmt::format("listening at {} for {} workers", coordinator.address(), own.workers));
  const Coordinator::Outcome outcome = wait_or_stop(coordinator);
  if (outcome.end == Coordinator::End::kBroken || outcome.end == Coordinator::End::kIncomplete) {
    throw JobFailed(outcome.text);
  }
  say(outcome.text);
  return kSuccess;
}

}  // namespace

Run declare_coordinator(const CommandLine& line) {
  auto options = std::make_shared<Options>();
  comm::CoordinatorOptions& own = options->coordinator;
  line.option("-n,--workers", own.workers, "Workers of the world").required().check(whole_number(1));
  line.option("--listen", own.listen, "HOST:PORT where workers find it; port 0: any, printed");
  line.option("--tls", own.tls_dir, "The coordinator's folder of `thinwire certs`; not needed on loopback")
      .check(existing_folder());
  line.option("--token-file", options->token_file, "A file with the join token; workers must have the same")
      .check(existing_file());
  line.option("--join-timeout", own.join_timeout_s, "Seconds for all workers to come").check(number_above(0));
  line.option("--timeout", own.silence_s, "Seconds after which a silent worker is lost")
      .check(number_above(0));
  return [options] { return run_coordinator(*options); };
}

}  // namespace thinwire::launch

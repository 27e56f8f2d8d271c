// Our means over processes of one machine, beside MPI's and Gloo's all-reduce of the same values in the same
// run, and beside what TCP over the loopback gives at best.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>

#include "comm/backend/backend.h"
#include "comm/backend/grpc/coordinator.h"
#include "launch/bench/collective_world.h"
#include "launch/bench/loopback.h"
#include "launch/bench/repetitions.h"
#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "launch/command/peers/all_reduce.h"
#include "launch/launcher/child_process.h"
#include "launch/launcher/mpirun.h"
#include "quant/codec/codec.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;

constexpr double kTimeoutS = 120;  // a repetition of all peers is shorter

struct BenchCollectiveOptions {
  CollectiveBench bench;
  std::vector<std::string> backends = {"mpi", "threads"};
  int workers = 2;
  bool peers = false;
  std::string python = "python3";
  bool json = false;
  bool in_world = false;  // this process is a worker, under mpirun or of a coordinator
  comm::BackendOptions world{.name = "mpi", .timeout_s = kTimeoutS};
};

// Processes of Python torch that reduce when told.
class GlooPeer {
 public:
  GlooPeer(const std::string& python, int workers)
      : child_({python, "-c", kAllReduceScript, std::to_string(workers)}, {}, Input::kPipe),
        name_(json::parse(next_line()).at("name")) {}

  const std::string& name() const { return name_; }
  double seconds(std::size_t bytes, int count) {
    child_.write(fmt::format("{} {}\n", bytes, count));
    return std::stod(next_line());
  }

 private:
  // Throws std::runtime_error with what the peer said last if it has ended.
  std::string next_line() {
    std::string line, error;
    const auto keep = [&](Stream stream, std::string_view text) {
      (stream == Stream::kOut ? line : error) = text;
    };
    while (line.empty()) {
      if (!child_.read_lines(std::chrono::hours(1), keep)) throw std::runtime_error(error);
    }
    return line;
  }

  ChildProcess child_;
  std::string name_;
};

// What rank 0 brings; a peer that does not start is named.
std::vector<CollectivePeer> make_peers(const BenchCollectiveOptions& options) {
  std::vector<CollectivePeer> peers = {
      {"loopback TCP", [workers = options.workers](std::size_t bytes, int n) {
         return loopback_exchange_seconds(2 * bytes * (workers - 1) / workers, n);
       }}};
  if (!options.peers) return peers;
  try {
    const auto gloo = std::make_shared<GlooPeer>(options.python, options.workers);
    peers.push_back({gloo->name(), [gloo](std::size_t bytes, int n) { return gloo->seconds(bytes, n); }});
  } catch (const std::exception& error) {
    fmt::print(stderr, "no peer: Gloo: {}\n", error.what());
  }
  return peers;
}

json measure_as_worker(const BenchCollectiveOptions& options, const std::string& backend,
                       const std::function<std::unique_ptr<comm::Communicator>()>& make) {
  comm::ProgressEngine engine(make);
  engine.start();
  const auto peers = engine.rank() == 0 ? make_peers(options) : std::vector<CollectivePeer>();
  json rows = measure_collectives(engine, backend, options.bench, peers);
  engine.barrier();
  engine.stop();
  return engine.rank() == 0 ? rows : json();
}

json measure_threads(const BenchCollectiveOptions& options) {
  const auto makers = comm::make_thread_world(options.workers, kTimeoutS);
  std::vector<std::future<json>> others;
  for (int r = 1; r < options.workers; ++r) {
    others.push_back(
        std::async(std::launch::async, [&, r] { return measure_as_worker(options, "threads", makers[r]); }));
  }
  json rows = measure_as_worker(options, "threads", makers[0]);
  for (auto& other : others) other.get();
  return rows;
}

// This program again, as a worker of a world.
std::vector<std::string> worker_command(const BenchCollectiveOptions& options) {
  const CollectiveBench& bench = options.bench;
  std::vector<std::string> command = {std::filesystem::read_symlink("/proc/self/exe").string(),
                                      "bench",
                                      "collective",
                                      "--in-world",
                                      "--workers=" + std::to_string(options.workers),
                                      "--block=" + std::to_string(bench.block),
                                      "--leg=" + bench.leg,
                                      "--repetitions=" + std::to_string(bench.repetitions),
                                      "--python=" + options.python};
  if (options.peers) command.push_back("--peers");
  for (const std::string& codec : bench.codecs) command.insert(command.end(), {"--codec", codec});
  for (const std::size_t bytes : bench.bytes)
    command.insert(command.end(), {"--bytes", std::to_string(bytes)});
  return command;
}

// Its last line of output; what it says on the error stream is passed on. Throws JobFailed if it fails.
std::string last_line(ChildProcess& child) {
  std::string result;
  const auto on_line = [&](Stream stream, std::string_view line) {
    if (stream == Stream::kOut) {
      result = line;
    } else {
      fmt::print(stderr, "{}\n", line);
    }
  };
  while (child.read_lines(std::chrono::hours(1), on_line)) {
  }
  if (child.wait() != 0) throw JobFailed("a process of the world failed; see above");
  return result;
}

const std::vector<std::string> kOneThread = {"OMP_NUM_THREADS=1"};

// Processes over TCP.
json measure_mpi(const BenchCollectiveOptions& options) {
  std::vector<std::string> command = mpirun_command(
      {.workers = options.workers, .hosts = {}, .tcp = true, .tag_output = false, .forwarded = {}},
      ::geteuid() == 0);
  const auto worker = worker_command(options);
  command.insert(command.end(), worker.begin(), worker.end());
  ChildProcess child(command, kOneThread);
  return json::parse(last_line(child));
}

json measure_grpc(const BenchCollectiveOptions& options) {
  const comm::Coordinator coordinator({.workers = options.workers, .silence_s = kTimeoutS});
  std::vector<std::unique_ptr<ChildProcess>> children;
  for (int rank = 0; rank < options.workers; ++rank) {
    std::vector<std::string> command = worker_command(options);
    command.push_back("--coordinator=" + coordinator.address());
    command.push_back("--rank=" + std::to_string(rank));
    children.push_back(std::make_unique<ChildProcess>(command, kOneThread));
  }
  json rows;
  for (const auto& child : children) {
    const std::string line = last_line(*child);
    if (child == children.front()) rows = json::parse(line);
  }
  return rows;
}

json measure(const std::string& backend, const BenchCollectiveOptions& options) {
  if (backend == "mpi") return measure_mpi(options);
  return backend == "grpc" ? measure_grpc(options) : measure_threads(options);
}

void print(const json& rows, const BenchCollectiveOptions& options) {
  fmt::print("{}; {} workers, block {}, median of {} rounds taken in turns\n", machine_name(),
             options.workers, options.bench.block, options.bench.repetitions);
  fmt::print("encode, mean and decode in place; GB/s of bus: 2 (M-1)/M x bytes of float32 / seconds\n\n");
  fmt::print("{:15} {:8} {:>10} {:>11} {:>7} {:>8}  {:28} {:>11} {:>7}\n", "algorithm", "codec", "bytes",
             "us", "spread", "GB/s", "peer", "us", "ratio");
  for (const json& row : rows) {
    const double seconds = row["seconds"];
    fmt::print("{:15} {:8} {:>10} {:11.1f} {:6.0f}% {:8.3f}", row["algorithm"].get<std::string>(),
               row["codec"].get<std::string>(), row["bytes"].get<std::size_t>(), 1e6 * seconds,
               100 * row["spread"].get<double>(), row["bus_gbytes_per_s"].get<double>());
    if (!row["peer"].is_null()) {
      const double peer_seconds = row["peer_seconds"];
      fmt::print("  {:28} {:11.1f} {:7.2f}", row["peer"].get<std::string>(), 1e6 * peer_seconds,
                 peer_seconds / seconds);
    }
    fmt::print("\n");
  }
}

int bench_collective(const BenchCollectiveOptions& options) {
  if (options.in_world) {
    const json rows =
        measure_as_worker(options, options.world.name, [&] { return comm::connect(options.world); });
    if (!rows.is_null()) fmt::print("{}\n", rows.dump());
    return kSuccess;
  }
  json rows = json::array();
  for (const std::string& backend : options.backends) {
    for (json& row : measure(backend, options)) rows.push_back(std::move(row));
  }
  if (options.json) {
    fmt::print("{}\n", rows.dump(2));
  } else {
    print(rows, options);
  }
  return kSuccess;
}

}  // namespace

Run declare_bench_collective(const CommandLine& line) {
  auto options = std::make_shared<BenchCollectiveOptions>();
  line.option("--workers", options->workers, "Processes, or threads, of the world")
      .check(whole_number(2, 64));
  line.option("--backend", options->backends, "mpi (over TCP), grpc, threads; mpi and threads if not given")
      .check(choice_of({"mpi", "grpc", "threads"}));
  line.option("--codec", options->bench.codecs, "Codecs to measure; fp32 and int8 if not given")
      .check(choice_of(quant::codec_names()));
  line.option("--bytes", options->bench.bytes, "Sizes, as bytes of float32 values")
      .check(whole_number(4, std::int64_t{1} << 32));
  line.option("--block", options->bench.block, "Values per scale").check(whole_number(1));
  line.option("--leg", options->bench.leg, "auto, gather or reduce")
      .check(choice_of({"auto", "gather", "reduce"}));
  line.option("--repetitions", options->bench.repetitions, "Rounds that count").check(whole_number(1));
  line.flag("--peers", options->peers, "Measure Gloo too, in turns; Open MPI's all-reduce always is");
  line.option("--python", options->python, "The interpreter that can import torch");
  line.flag("--json", options->json, "A list of rows on standard output");
  // What worlds are made of.
  line.flag("--in-world", options->in_world).hidden();
  line.option_call("--coordinator",
                   [options](const std::string& address) {
                     options->world.name = "grpc";
                     options->world.grpc.coordinator = address;
                   })
      .hidden();
  line.option("--rank", options->world.grpc.rank).hidden();
  return [options] { return bench_collective(*options); };
}

}  // namespace thinwire::launch

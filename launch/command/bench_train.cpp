// Training speed of one worker, beside the same model in Python torch where that can be imported.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "launch/bench/peer_process.h"
#include "launch/bench/repetitions.h"
#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "launch/command/peers/torch_train.h"
#include "launch/launcher/child_process.h"
#include "trainer/train_bench.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;

// The models at which small trainers are usually measured; the last is GPT-2's size.
struct Size {
  const char* name;
  trainer::TrainBench bench;
};

std::vector<Size> sizes() {
  const auto model = [](std::int64_t layers, std::int64_t heads, std::int64_t width, std::int64_t mlp_width,
                        std::int64_t context, std::int64_t vocab) {
    trainer::ModelOptions options;
    options.layers = layers;
    options.heads = options.kv_heads = heads;
    options.width = width;
    options.mlp_width = mlp_width;
    options.context = context;
    options.vocab = vocab;
    return options;
  };
  return {{"small", {.model = model(4, 4, 128, 352, 64, 65), .batch = 12, .sequence = 64, .steps = 20}},
          {"medium", {.model = model(6, 6, 384, 1024, 256, 65), .batch = 8, .sequence = 256, .steps = 2}},
          {"large", {.model = model(12, 12, 768, 2048, 64, 50257), .batch = 4, .sequence = 64, .steps = 1}}};
}

struct BenchTrainOptions {
  std::vector<std::string> sizes = {"small", "medium", "large"};
  int threads = 1;
  int repetitions = 5;
  std::string python = "python3";
  bool peers = false;
  bool json = false;
};

// One repetition of the Python peer.
class TorchPeer {
 public:
  TorchPeer(std::string python, const trainer::TrainBench& bench) {
    const trainer::ModelOptions& m = bench.model;
    command_ = {std::move(python), "-c", kTorchTrainScript};
    for (const std::int64_t number : {m.layers, m.width, m.heads, m.mlp_width, m.vocab, bench.batch,
                                      bench.sequence, bench.steps, std::int64_t{bench.threads}}) {
      command_.push_back(std::to_string(number));
    }
  }

  // Throws std::runtime_error with what the peer said.
  double tokens_per_s() {
    const json result = run_peer(command_, "Python torch");
    version_ = result.at("torch");
    return result.at("tokens_per_s");
  }
  const std::string& version() const { return version_; }

 private:
  std::vector<std::string> command_;
  std::string version_;
};

std::optional<std::string> reason_without_torch(const std::string& python) {
  std::string last;
  try {
    ChildProcess child({python, "-c", "import torch"}, {});
    while (child.read_lines(std::chrono::hours(1), [&](Stream, std::string_view line) { last = line; })) {
    }
    if (child.wait() == 0) return std::nullopt;
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return last;
}

json measure(const Size& size, const BenchTrainOptions& options, bool with_peer) {
  trainer::TrainBench bench = size.bench;
  bench.threads = options.threads;
  bench.repetitions = 1;  // turns are taken here
  TorchPeer peer(options.python, bench);
  std::vector<std::function<double()>> contenders = {[&] { return trainer::measure_training(bench).at(0); }};
  if (with_peer) contenders.push_back([&] { return peer.tokens_per_s(); });
  const std::vector<Measured> figures = measure_in_turns(contenders, options.repetitions);
  json row = {{"size", size.name},
              {"layers", bench.model.layers},
              {"width", bench.model.width},
              {"vocab", bench.model.vocab},
              {"batch", bench.batch},
              {"sequence", bench.sequence},
              {"threads", bench.threads},
              {"tokens_per_s", figures[0].median},
              {"spread", figures[0].spread},
              {"peer", nullptr},
              {"peer_tokens_per_s", nullptr},
              {"peer_spread", nullptr},
              {"ratio", nullptr}};
  if (with_peer) {
    row["peer"] = "Python torch " + peer.version();
    row["peer_tokens_per_s"] = figures[1].median;
    row["peer_spread"] = figures[1].spread;
    row["ratio"] = figures[0].median / figures[1].median;
  }
  return row;
}

void print(const json& row) {
  fmt::print("{:7} {:>4} x {:<5} {:>10.0f} {:6.0f}%", row["size"].get<std::string>(), row["batch"].get<int>(),
             row["sequence"].get<int>(), row["tokens_per_s"].get<double>(),
             100 * row["spread"].get<double>());
  if (!row["peer"].is_null()) {
    fmt::print(" {:>12.0f} {:6.0f}% {:7.3f}   {}", row["peer_tokens_per_s"].get<double>(),
               100 * row["peer_spread"].get<double>(), row["ratio"].get<double>(),
               row["peer"].get<std::string>());
  }
  fmt::print("\n");
  std::fflush(stdout);
}

int bench_train(const BenchTrainOptions& options) {
  std::FILE* notes = options.json ? stderr : stdout;
  const auto missing = options.peers ? reason_without_torch(options.python) : std::nullopt;
  if (missing) fmt::print(notes, "no peer: {} cannot import torch: {}\n", options.python, *missing);
  fmt::print(notes, "{}; float32, {} compute thread(s), tokens/s, median of {} repetitions taken in turns\n",
             machine_name(), options.threads, options.repetitions);
  fmt::print(notes, "{:7} {:>12} {:>10} {:>7} {:>12} {:>7} {:>7}\n", "size", "batch", "thinwire", "spread",
             "peer", "spread", "ratio");
  json rows = json::array();
  for (const Size& size : sizes()) {
    if (std::find(options.sizes.begin(), options.sizes.end(), size.name) == options.sizes.end()) continue;
    rows.push_back(measure(size, options, options.peers && !missing));
    if (!options.json) print(rows.back());
  }
  if (options.json) fmt::print("{}\n", rows.dump(2));
  return kSuccess;
}

}  // namespace

Run declare_bench_train(const CommandLine& line) {
  auto options = std::make_shared<BenchTrainOptions>();
  line.option("--size", options->sizes,
              "small (0.8 M parameters), medium (10.7 M), large (124 M); all if not given")
      .check(choice_of({"small", "medium", "large"}));
  line.option("--threads", options->threads, "Compute threads").check(whole_number(1));
  line.option("--repetitions", options->repetitions, "Repetitions that count").check(whole_number(1));
  line.flag("--peers", options->peers, "Measure the same model in Python torch too, in turns");
  line.option("--python", options->python, "The interpreter that can import torch");
  line.flag("--json", options->json, "A list of rows on standard output");
  return [options] { return bench_train(*options); };
}

}  // namespace thinwire::launch

// How fast the codecs and the fused outer passes are, beside what the machine's memory allows and beside
// other quantisers, measured in the same run.
#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "launch/bench/large_pages.h"
#include "launch/bench/memory_limits.h"
#include "launch/bench/peer_process.h"
#include "launch/bench/repetitions.h"
#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "launch/command/peers/codec_peers.h"
#include "quant/codec/outer_pass.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;

// What memory allows: read and copy count the bytes of float32 passed, the triad all bytes that it moves.
enum class Limit { kRead, kCopy, kTriad };

constexpr std::size_t kPayloads = 4;
constexpr std::size_t kLineValues = 16;
constexpr const char* kMemory = "memory";  // the codec of a limit

struct Buffers {
  LargePageVector<float> values, sum, agreed, momentum, residual;
  LargePageVector<std::byte> payloads[kPayloads];
};

// A contender: what it is, and what it cannot be faster than.
struct Case {
  std::string codec, op, rounding;
  Limit limit = Limit::kRead;
  double bytes = 0;  // that count: of float32 passed, or all moved
  std::function<void()> body;
  std::function<void()> prepare = {};  // before the clock starts
};

// n values as outer gradients are: normal, small.
Buffers make_buffers(std::size_t n) {
  Buffers buffers;
  buffers.values.resize(n);
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0, 1e-3f);
  for (float& value : buffers.values) value = normal(generator);
  buffers.sum = buffers.agreed = buffers.values;
  buffers.momentum.resize(n);
  buffers.residual.resize(n);
  for (auto& payload : buffers.payloads) payload.resize(n * sizeof(float) + 64);
  return buffers;
}

// Each limit in both forms of its loop.
std::vector<Case> limit_cases(Buffers& buffers, quant::Threads& threads) {
  const std::size_t n = buffers.values.size();
  const double bytes = static_cast<double>(n * sizeof(float));
  std::vector<Case> cases;
  const auto add = [&](const std::string& op, Limit limit, double moved, auto call) {
    cases.push_back(
        {kMemory, op, "", limit, moved, [&threads, n, call] { threads.for_ranges(n, kLineValues, call); }});
  };
  add("copy", Limit::kCopy, bytes, [&buffers](std::size_t first, std::size_t count) {
    std::memcpy(buffers.sum.data() + first, buffers.values.data() + first, count * sizeof(float));
  });
  for (const Prefetch prefetch : {Prefetch::kNone, Prefetch::kAhead}) {
    const std::string form = prefetch == Prefetch::kAhead ? "_ahead" : "";
    add("read" + form, Limit::kRead, bytes, [&buffers, prefetch](std::size_t first, std::size_t count) {
      volatile float sink = read_all(std::span(buffers.values).subspan(first, count), prefetch);
      (void)sink;
    });
    add("triad" + form, Limit::kTriad, 3 * bytes, [&buffers, prefetch](std::size_t first, std::size_t count) {
      triad(std::span(buffers.values).subspan(first, count), std::span(buffers.sum).subspan(first, count),
            prefetch);
    });
  }
  return cases;
}

void add_cases(std::vector<Case>& cases, Buffers& buffers, quant::Threads& threads,
               const std::shared_ptr<const quant::Codec>& codec) {
  const bool nearest = codec->rounding() == quant::Rounding::kNearest;
  const std::string rounding = nearest ? "nearest" : "stochastic";
  const std::size_t n = buffers.values.size(), code_bytes = codec->encoded_bytes(n);
  const std::span code(buffers.payloads[0].data(), code_bytes);
  const auto add = [&](const char* op, Limit limit, double bytes, std::function<void()> body,
                       std::function<void()> prepare = {}) {
    cases.push_back(
        {std::string(codec->name()), op, rounding, limit, bytes, std::move(body), std::move(prepare)});
  };
  const double floats = static_cast<double>(n * sizeof(float)), codes = static_cast<double>(code_bytes);
  add("encode", Limit::kRead, floats,
      [&buffers, &threads, codec, code] { quant::encode(*codec, buffers.values, 1, code, &threads); });
  if (nearest) {  // decoding knows no rounding
    // They stand right after the encode of the same codec, whose bytes they read.
    add("decode", Limit::kCopy, floats,
        [&buffers, &threads, codec, code] { quant::decode(*codec, code, buffers.sum, &threads); });
    add("decode_add", Limit::kCopy, floats,
        [&buffers, &threads, codec, code] { quant::decode_add(*codec, code, buffers.sum, &threads); });
  }
  // agreed and local are read, the residual is read and written, and so is the code written.
  add("fused_encode", Limit::kTriad, 4 * floats + codes, [&buffers, &threads, codec, code] {
    (void)quant::encode_delta(*codec, {buffers.agreed, buffers.values, buffers.residual}, 1, code, &threads);
  });
  if (!nearest) return;
  // Four payloads are read; agreed, momentum and local are read and written.
  add(
      "fused_apply", Limit::kTriad, 6 * floats + kPayloads * codes,
      [&buffers, &threads, codec, code_bytes, n] {
        quant::CodedValues payloads[kPayloads];
        for (std::size_t i = 0; i < kPayloads; ++i)
          payloads[i] = {std::span(buffers.payloads[i].data(), code_bytes), n};
        quant::apply_update(*codec,
                            {.payloads = payloads,
                             .contributors = kPayloads,
                             .rule = {.lr = 1e-3f, .momentum = 0.9f},
                             .alpha = 0.5f,
                             .agreed = buffers.agreed,
                             .momentum = buffers.momentum,
                             .local = buffers.sum},
                            &threads);
      },
      [&buffers, code] {
        for (std::size_t i = 1; i < kPayloads; ++i)
          std::memcpy(buffers.payloads[i].data(), code.data(), code.size());
      });
}

struct BenchCodecOptions {
  std::vector<std::string> codecs = quant::codec_names();
  std::size_t block = 256;
  std::size_t values = 27'264'000;
  std::vector<int> threads = {1};
  int repetitions = 7;
  std::string python = "python3";
  bool peers = false;
  bool json = false;
};

// The calling thread on one core, the threads that it starts on the others of the process.
class Pinned {
 public:
  explicit Pinned(int count) {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t first, others = before_;
    CPU_ZERO(&first);
    const int core = ::sched_getcpu();
    CPU_SET(core, &first);
    CPU_CLR(core, &others);
    if (CPU_COUNT(&others) > 0) ::sched_setaffinity(0, sizeof others, &others);
    threads_.emplace(count);
    ::sched_setaffinity(0, sizeof first, &first);
  }
  ~Pinned() { ::sched_setaffinity(0, sizeof before_, &before_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  quant::Threads& threads() { return *threads_; }

 private:
  cpu_set_t before_;
  std::optional<quant::Threads> threads_;
};

// Other quantisers, one Python process a round, which measures each of their operations once.
class CodecPeers {
 public:
  CodecPeers(const BenchCodecOptions& options, int threads)
      : command_({options.python, "-c", kCodecPeersScript, std::to_string(options.values),
                  std::to_string(options.block), std::to_string(threads)}) {}

  // "codec op rounding" to GB of float32 a second, of those that the script could measure. Throws
  // std::runtime_error with what the script said.
  const std::map<std::string, double>& measure() {
    const json result = run_peer(command_, "peers");
    names_ = result.at("names");
    missing_ = result.at("missing");
    figures_ = result.at("gbytes_per_s");
    return figures_;
  }
  double last(const std::string& key) const { return figures_.at(key); }
  const std::string& name(const std::string& key) const { return names_.at(key); }
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  std::vector<std::string> command_;
  std::map<std::string, std::string> names_;
  std::map<std::string, double> figures_;
  std::vector<std::string> missing_;  // a sentence on each
};

std::string key_of(const Case& one) {
  return one.codec + " " + one.op + " " + one.rounding;
}

// The faster of the limit's forms.
double limit_of(const Case& one, const std::vector<Case>& cases, const std::vector<Measured>& figures) {
  double limit = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (cases[i].codec == kMemory && cases[i].limit == one.limit) limit = std::max(limit, figures[i].median);
  }
  return limit;
}

json row_of(const Case& one, const Measured& figure, double limit, const BenchCodecOptions& options,
            int threads) {
  return {{"codec", one.codec},
          {"op", one.op},
          {"rounding", one.rounding},
          {"block", options.block},
          {"threads", threads},
          {"values", options.values},
          {"gbytes_per_s", figure.median},
          {"spread", figure.spread},
          {"limit_gbytes_per_s", limit},
          {"peer", nullptr},
          {"peer_gbytes_per_s", nullptr}};
}

// Rows for one number of threads; a round is each of our cases once, then the peers.
json measure(Buffers& buffers, const BenchCodecOptions& options, int num_threads, std::FILE* notes) {
  Pinned pinned(num_threads);
  std::vector<Case> cases = limit_cases(buffers, pinned.threads());
  for (const std::string& name : options.codecs) {
    for (const auto rounding : {quant::Rounding::kNearest, quant::Rounding::kStochastic}) {
      add_cases(cases, buffers, pinned.threads(),
                quant::make_codec({.name = name, .block = options.block, .rounding = rounding}));
    }
  }
  std::vector<std::function<double()>> contenders;
  for (const Case& one : cases) {
    contenders.push_back([&one] {
      if (one.prepare) one.prepare();
      one.body();  // so that every case finds the caches as it leaves them; a server's last one may hold much
      const auto start = std::chrono::steady_clock::now();
      one.body();
      return one.bytes / 1e9 /
             std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    });
  }
  CodecPeers peers(options, num_threads);
  std::vector<std::string> peer_keys;
  if (options.peers) {
    for (const auto& [key, figure] : peers.measure()) peer_keys.push_back(key);
    for (const std::string& reason : peers.missing()) fmt::print(notes, "no peer: {}\n", reason);
    for (std::size_t i = 0; i < peer_keys.size(); ++i) {
      contenders.push_back([&peers, key = peer_keys[i], first = i == 0] {
        if (first) peers.measure();
        return peers.last(key);
      });
    }
  }
  const std::vector<Measured> figures = measure_in_turns(contenders, options.repetitions);
  json rows = json::array();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    rows.push_back(row_of(cases[i], figures[i], limit_of(cases[i], cases, figures), options, num_threads));
    const auto found = std::find(peer_keys.begin(), peer_keys.end(), key_of(cases[i]));
    if (found == peer_keys.end()) continue;
    rows.back()["peer"] = peers.name(*found);
    rows.back()["peer_gbytes_per_s"] =
        figures[cases.size() + static_cast<std::size_t>(found - peer_keys.begin())].median;
  }
  return rows;
}

void print(const json& rows, const BenchCodecOptions& options) {
  fmt::print("{}; {} values, block {}, median of {} rounds taken in turns\n", machine_name(), options.values,
             options.block, options.repetitions);
  fmt::print(
      "GB/s of float32; an encode's limit is reading memory, a decode's copying it. Triad and fused passes: "
      "all bytes moved\n\n");
  fmt::print("{:10} {:12} {:11} {:>7} {:>7} {:>7} {:>9} {:>7}\n", "codec", "op", "rounding", "threads",
             "GB/s", "spread", "of limit", "peer");
  for (const json& row : rows) {
    const double figure = row["gbytes_per_s"], limit = row["limit_gbytes_per_s"];
    fmt::print("{:10} {:12} {:11} {:7} {:7.2f} {:6.0f}% {:9.2f}", row["codec"].get<std::string>(),
               row["op"].get<std::string>(), row["rounding"].get<std::string>(), row["threads"].get<int>(),
               figure, 100 * row["spread"].get<double>(), figure / limit);
    if (!row["peer"].is_null())
      fmt::print(" {:7.2f} {}", row["peer_gbytes_per_s"].get<double>(), row["peer"].get<std::string>());
    fmt::print("\n");
  }
}

int bench_codec(const BenchCodecOptions& options) {
  std::FILE* notes = options.json ? stderr : stdout;
  Buffers buffers = make_buffers(options.values);
  json rows = json::array();
  for (const int threads : options.threads) {
    for (json& row : measure(buffers, options, threads, notes)) rows.push_back(std::move(row));
  }
  if (options.json) {
    fmt::print("{}\n", rows.dump(2));
  } else {
    print(rows, options);
  }
  return kSuccess;
}

}  // namespace

Run declare_bench_codec(const CommandLine& line) {
  auto options = std::make_shared<BenchCodecOptions>();
  line.option("--codec", options->codecs, "Codecs to measure; all if not given")
      .check(choice_of(quant::codec_names()));
  line.option("--block", options->block, "Values per scale").check(whole_number(1));
  line.option("--values", options->values, "float32 values of a payload")
      .check(whole_number(1, std::int64_t{1} << 40));
  line.option("--threads", options->threads, "Numbers of threads, each measured apart, as 1,2")
      .by_commas()
      .check(whole_number(1));
  line.option("--repetitions", options->repetitions, "Rounds that count").check(whole_number(1));
  line.flag("--peers", options->peers, "Measure pi-quant and bitsandbytes too, in turns");
  line.option("--python", options->python, "The interpreter that can import the peers");
  line.flag("--json", options->json, "A list of rows on standard output");
  return [options] { return bench_codec(*options); };
}

}  // namespace thinwire::launch

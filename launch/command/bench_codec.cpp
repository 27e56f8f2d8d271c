// How fast the codecs are, beside what the machine's memory allows, measured in the same run.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "launch/bench/repetitions.h"
#include "launch/command/command.h"
#include "quant/codec/codec.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;

// The physical limits, as bytes of float32 passed a second.
enum class Limit { kRead, kCopy };

struct Buffers {
  std::vector<float> values, sum;
  std::vector<std::byte> code;
};

// A contender: what it is, and what it cannot be faster than.
struct Case {
  std::string codec, op, rounding;
  Limit limit = Limit::kRead;
  std::function<void()> body;
};

// n values as outer gradients are: normal, small.
Buffers make_buffers(std::size_t n) {
  Buffers buffers;
  buffers.values.resize(n);
  buffers.sum.resize(n);
  buffers.code.resize(n * sizeof(float) + 64);
  std::mt19937 generator(1);
  std::normal_distribution<float> normal(0, 1e-3f);
  for (float& value : buffers.values) value = normal(generator);
  return buffers;
}

// Many sums in flight, so that additions do not wait for each other, and every line asked for ahead, as the
// kernels do: what they are measured by is what memory can give, not what a plain loop gets.
float read_all(const std::vector<float>& values) {
  constexpr std::size_t kAhead = 3072, kLine = 16;
  float sums[64] = {};
  std::size_t i = 0;
  for (; i + 64 <= values.size(); i += 64) {
    for (std::size_t k = 0; k < 64; k += kLine) __builtin_prefetch(values.data() + i + kAhead + k);
    for (std::size_t k = 0; k < 64; ++k) sums[k] += values[i + k];
  }
  for (; i < values.size(); ++i) sums[0] += values[i];
  return std::accumulate(std::begin(sums), std::end(sums), 0.0f);
}

std::vector<Case> limit_cases(Buffers& buffers) {
  return {{"memory", "read", "", Limit::kRead,
           [&buffers] {
             volatile float sink = read_all(buffers.values);
             (void)sink;
           }},
          {"memory", "copy", "", Limit::kCopy, [&buffers] {
             std::memcpy(buffers.sum.data(), buffers.values.data(), buffers.values.size() * sizeof(float));
           }}};
}

void add_cases(std::vector<Case>& cases, Buffers& buffers, const std::shared_ptr<const quant::Codec>& codec) {
  const bool nearest = codec->rounding() == quant::Rounding::kNearest;
  const std::string rounding = nearest ? "nearest" : "stochastic";
  const std::span code(buffers.code.data(), codec->encoded_bytes(buffers.values.size()));
  const auto add = [&](const char* op, Limit limit, std::function<void()> body) {
    cases.push_back({std::string(codec->name()), op, rounding, limit, std::move(body)});
  };
  add("encode", Limit::kRead, [&buffers, codec, code] { codec->encode(buffers.values, 1, code); });
  if (!nearest) return;  // decoding knows no rounding
  // They stand right after the encode of the same codec, whose bytes they read.
  add("decode", Limit::kCopy, [&buffers, codec, code] { codec->decode(code, buffers.sum); });
  add("decode_add", Limit::kCopy, [&buffers, codec, code] { codec->decode_add(code, buffers.sum); });
}

struct BenchCodecOptions {
  std::vector<std::string> codecs = quant::codec_names();
  std::size_t block = 256;
  std::size_t values = 27'264'000;
  int repetitions = 7;
  bool json = false;
};

// GB of float32 a second.
std::vector<Measured> measure(const std::vector<Case>& cases, const BenchCodecOptions& options) {
  std::vector<std::function<double()>> contenders;
  const double gbytes = static_cast<double>(options.values * sizeof(float)) / 1e9;
  for (const Case& one : cases) {
    contenders.push_back([&one, gbytes] {
      const auto start = std::chrono::steady_clock::now();
      one.body();
      return gbytes / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    });
  }
  return measure_in_turns(contenders, options.repetitions);
}

json as_rows(const std::vector<Case>& cases, const std::vector<Measured>& figures,
             const BenchCodecOptions& options) {
  json rows = json::array();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Measured& limit = figures[cases[i].limit == Limit::kRead ? 0 : 1];
    rows.push_back({{"codec", cases[i].codec},
                    {"op", cases[i].op},
                    {"rounding", cases[i].rounding},
                    {"block", options.block},
                    {"threads", 1},
                    {"values", options.values},
                    {"gbytes_per_s", figures[i].median},
                    {"spread", figures[i].spread},
                    {"limit_gbytes_per_s", limit.median},
                    {"peer", nullptr},
                    {"peer_gbytes_per_s", nullptr}});
  }
  return rows;
}

void print(const json& rows, const BenchCodecOptions& options) {
  fmt::print("{}; one thread, {} values, block {}, median of {} rounds taken in turns\n", machine_name(),
             options.values, options.block, options.repetitions);
  fmt::print("GB/s of float32; an encode's limit is reading memory, a decode's copying it\n\n");
  fmt::print("{:10} {:11} {:11} {:>7} {:>7} {:>9}\n", "codec", "op", "rounding", "GB/s", "spread",
             "of limit");
  for (const json& row : rows) {
    const double figure = row["gbytes_per_s"], limit = row["limit_gbytes_per_s"];
    fmt::print("{:10} {:11} {:11} {:7.2f} {:6.0f}% {:9.2f}\n", row["codec"].get<std::string>(),
               row["op"].get<std::string>(), row["rounding"].get<std::string>(), figure,
               100 * row["spread"].get<double>(), figure / limit);
  }
}

int bench_codec(const BenchCodecOptions& options) {
  pin_this_thread();
  Buffers buffers = make_buffers(options.values);
  std::vector<Case> cases = limit_cases(buffers);
  for (const std::string& name : options.codecs) {
    for (const auto rounding : {quant::Rounding::kNearest, quant::Rounding::kStochastic}) {
      add_cases(cases, buffers,
                quant::make_codec({.name = name, .block = options.block, .rounding = rounding}));
    }
  }
  const json rows = as_rows(cases, measure(cases, options), options);
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
  CLI::App& app = line.app;
  app.add_option("--codec", options->codecs, "Codecs to measure; all if not given");
  app.add_option("--block", options->block, "Values per scale");
  app.add_option("--values", options->values, "float32 values of a payload")->check(CLI::PositiveNumber);
  app.add_option("--repetitions", options->repetitions, "Rounds that count")->check(CLI::PositiveNumber);
  app.add_flag("--json", options->json, "A list of rows on standard output");
  return [options] { return bench_codec(*options); };
}

}  // namespace thinwire::launch

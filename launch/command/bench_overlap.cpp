// Compute utilisation of a job by outer method and link: short real runs of the job's own config, each in a
// folder that goes afterwards.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "launch/bench/overlap_plan.h"
#include "launch/bench/repetitions.h"
#include "launch/command/command.h"
#include "launch/command/command_line.h"
#include "launch/config/config.h"
#include "launch/launcher/launcher.h"
#include "launch/plot/svg_plot.h"
#include "trainer/format/output_path.h"

namespace thinwire::launch {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

// A contender: how it exchanges. Overlapping ones get the smallest tau that fits the link.
struct Arm {
  const char* name;
  const char* method;
  const char* codec;
  bool overlaps;
};
constexpr Arm kArms[] = {{"ddp", "ddp", "fp32", false},
                         {"diloco", "diloco", "fp32", false},
                         {"streaming", "streaming_diloco", "fp32", false},
                         {"streaming+overlap", "streaming_diloco", "fp32", true},
                         {"streaming+overlap", "streaming_diloco", "e3m0", true}};
constexpr std::int64_t kDdpSteps = 6;

struct BenchOverlapOptions {
  std::string config = "examples/pretrain.toml";
  std::vector<std::string> rates = {"10mbit", "20mbit", "50mbit", "100mbit"};
  std::vector<std::string> round_trips = {"20ms", "100ms"};
  std::vector<int> workers = {2, 4};
  std::string backend;
  std::vector<std::string> overrides;
  std::string svg;
  bool json = false;
};

class TemporaryFolder {
 public:
  TemporaryFolder() : path_(fs::temp_directory_path() / fmt::format("thinwire-overlap-{}", ::getpid())) {
    fs::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code none;
    fs::remove_all(path_, none);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return path_ / name; }

 private:
  const fs::path path_;
};

// What a run leaves behind that is of use here.
struct Outcome {
  json summary;
  std::vector<json> commits;
};

std::vector<json> read_lines(const std::string& path) {
  std::vector<json> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(json::parse(line));
  return lines;
}

// Runs variants of one job, and measures each load (workers, method, codec) once on an unlimited link.
class Lab {
 public:
  explicit Lab(const BenchOverlapOptions& options) {
    std::vector<std::string> overrides = options.overrides;
    overrides.push_back("run.dir=" + run_dir());
    std::vector<std::string> notes;
    base_ = load_config(options.config, overrides, &notes);
    for (const std::string& note : notes) fmt::print(stderr, "{}\n", note);
    if (!options.backend.empty()) base_.comm.backend = options.backend;
    base_.checkpoint.every = 0;
    base_.log.eval_every = 0;
    base_.outer.final_sync = false;  // once a job, and a measured run is a tenth of one
    base_.log.tensorboard = false;
  }

  const trainer::Options& base() const { return base_; }

  json row(const Arm& arm, int workers, const std::string& link) {
    const OverlapLoad load = load_of(arm, workers);
    const OverlapPlan plan =
        arm.overlaps ? plan_overlap(load, comm::parse_link(link)) : OverlapPlan{.tau = 0};
    const Outcome outcome = run(arm, workers, link, plan.tau, steps_of(load, plan.tau));
    const double periods = static_cast<double>(base_.inner.steps) / static_cast<double>(load.sync_every);
    return {{"method", arm.name},
            {"codec", arm.codec},
            {"workers", workers},
            {"link", link},
            {"utilization", outcome.summary.at("compute_utilization")},
            {"floor_mbit", floor_mbit(load)},
            {"step_seconds", load.step_seconds},
            {"workers_per_core", outcome.summary.at("workers_per_core")},
            {"tau", plan.tau},
            {"fits", plan.fits},
            {"run_mbytes", 1e-6 * period_bytes(load) * periods}};
  }

 private:
  static double period_bytes(const OverlapLoad& load) {
    double bytes = 0;
    for (const std::uint64_t fragment : load.fragment_bytes) bytes += static_cast<double>(fragment);
    return bytes;
  }

  std::int64_t steps_of(const OverlapLoad& load, std::int64_t tau) const {
    if (load.sync_every == 1) return kDdpSteps;
    return run_steps(load.fragment_bytes.size(), load.sync_every, tau);
  }

  const OverlapLoad& load_of(const Arm& arm, int workers) {
    const std::string key = fmt::format("{} {} {}", arm.method, arm.codec, workers);
    const auto found = loads_.find(key);
    return found != loads_.end() ? found->second : loads_[key] = measure_load(arm, workers);
  }

  // Without a link what is waited for at a commit is coding, and the slowest worker.
  OverlapLoad measure_load(const Arm& arm, int workers) {
    OverlapLoad load;
    if (arm.method == std::string("ddp")) {
      load.sync_every = 1;
      const Outcome outcome = run(arm, workers, "unlimited", 0, kDdpSteps);
      load.fragment_bytes = {outcome.summary.at("wire_bytes_per_worker").get<std::uint64_t>() / kDdpSteps};
      load.step_seconds = outcome.summary.at("step_seconds").get<double>() *
                          outcome.summary.at("compute_utilization").get<double>();
      return load;
    }
    load.sync_every = base_.outer.sync_every;
    const Outcome outcome = run(arm, workers, "unlimited", 0, load.sync_every + 1);
    load.step_seconds = outcome.summary.at("step_seconds");
    std::map<std::int64_t, std::uint64_t> bytes;
    std::vector<double> waits;
    for (const json& commit : outcome.commits) {
      bytes[commit.at("fragment")] = commit.at("wire_bytes");
      waits.push_back(commit.at("late_seconds"));
    }
    for (const auto& [fragment, sent] : bytes) load.fragment_bytes.push_back(sent);
    load.coding_seconds = waits.empty() ? 0 : summarise(waits).median;
    return load;
  }

  std::string run_dir() const { return folder_.file("run"); }

  Outcome run(const Arm& arm, int workers, const std::string& link, std::int64_t tau, std::int64_t steps) {
    const std::string dir = run_dir();
    Job job{.options = base_, .workers = workers, .hosts = {}};
    trainer::Options& options = job.options;
    options.comm.link = link;
    options.inner.steps = steps;
    options.inner.warmup = std::min(options.inner.warmup, steps);
    options.outer.method = arm.method;
    options.outer.codec = arm.codec;
    options.outer.embeddings_codec.clear();  // an arm has one codec
    options.outer.overlap = tau;
    options.outer.error_feedback = arm.codec != std::string("fp32");
    if (fs::exists(folder_.file("tokenizer"))) options.data.tokenizer = folder_.file("tokenizer");
    fmt::print(stderr, "{} {}, {} workers, {}, tau {}, {} steps\n", arm.name, arm.codec, workers, link, tau,
               steps);
    const trainer::RunResult result = find_launcher(options.comm.backend).run(job, watch());
    if (result.end != trainer::RunEnd::kFinished) throw JobFailed("stopped before all runs were made");
    Outcome outcome{result.summary, read_lines(dir + "/commits.jsonl")};
    keep_tokenizer(dir);
    fs::remove_all(dir);
    return outcome;
  }

  // What the first run trained serves the others too: the SentencePiece model behind the stored tokenizer's
  // first line.
  void keep_tokenizer(const std::string& dir) const {
    if (base_.data.tokenizer != "bpe" || fs::exists(folder_.file("tokenizer"))) return;
    std::ifstream stored(dir + "/tokenizer", std::ios::binary);
    std::string first_line;
    std::getline(stored, first_line);
    std::ofstream(folder_.file("tokenizer"), std::ios::binary) << stored.rdbuf();
  }

  static Watch watch() {
    return {.on_progress = [](const trainer::Progress&) {},
            .on_message = [](const std::string& text) { fmt::print(stderr, "{}\n", text); }};
  }

  TemporaryFolder folder_;
  trainer::Options base_;
  std::map<std::string, OverlapLoad> loads_;
};

void print_heading(const Lab& lab) {
  fmt::print("{}; {} backend, H = {}, one run of at least two periods for each row\n", machine_name(),
             lab.base().comm.backend, lab.base().outer.sync_every);
  fmt::print(
      "floor: Mbit/s that a worker must send for nothing to wait; run: MB that it sends in {} steps\n\n",
      lab.base().inner.steps);
  fmt::print("{:18} {:5} {:>7} {:14} {:>4} {:>4} {:>11} {:>10} {:>8} {:>12} {:>9}\n", "method", "codec",
             "workers", "link", "tau", "fits", "utilisation", "floor Mbit", "step s", "workers/core",
             "run MB");
}

void print(const json& row) {
  const bool overlaps = row["tau"].get<int>() > 0;
  fmt::print("{:18} {:5} {:7} {:14} {:4} {:>4} {:11.3f} {:10.2f} {:8.3f} {:12.3g} {:9.1f}\n",
             row["method"].get<std::string>(), row["codec"].get<std::string>(), row["workers"].get<int>(),
             row["link"].get<std::string>(), row["tau"].get<int>(),
             !overlaps                 ? "-"
             : row["fits"].get<bool>() ? "yes"
                                       : "no",
             row["utilization"].get<double>(), row["floor_mbit"].get<double>(),
             row["step_seconds"].get<double>(), row["workers_per_core"].get<double>(),
             row["run_mbytes"].get<double>());
  std::fflush(stdout);
}

// A panel for each number of workers and round trip.
std::string plot(const json& rows, const BenchOverlapOptions& options) {
  std::vector<Panel> panels;
  for (const int workers : options.workers) {
    for (const std::string& round_trip : options.round_trips) {
      Panel panel{.title = fmt::format("{} workers, {} round trip", workers, round_trip),
                  .x = {.label = "link, Mbit/s", .logarithmic = true},
                  .y = {.label = "compute utilisation", .low = 0, .high = 1}};
      for (const Arm& arm : kArms) {
        Series series{.name = fmt::format("{}, {}", arm.name, arm.codec)};
        for (const json& row : rows) {
          if (row["method"] != arm.name || row["codec"] != arm.codec || row["workers"] != workers) continue;
          const std::string link = row["link"];
          if (!link.ends_with("/" + round_trip)) continue;
          series.points.emplace_back(1e-6 * comm::parse_link(link).up_bits_per_s, row["utilization"]);
        }
        panel.series.push_back(std::move(series));
      }
      panels.push_back(std::move(panel));
    }
  }
  return to_svg("Compute utilisation by link", panels, static_cast<int>(options.round_trips.size()));
}

int bench_overlap(const BenchOverlapOptions& options) {
  std::optional<trainer::OutputPath> svg;
  if (!options.svg.empty()) svg.emplace(options.svg);  // hours later would be too late
  for (const std::string& rate : options.rates) {
    for (const std::string& round_trip : options.round_trips) comm::parse_link(rate + "/" + round_trip);
  }
  Lab lab(options);
  if (!options.json) print_heading(lab);
  json rows = json::array();
  for (const int workers : options.workers) {
    for (const std::string& round_trip : options.round_trips) {
      for (const std::string& rate : options.rates) {
        for (const Arm& arm : kArms) {
          rows.push_back(lab.row(arm, workers, rate + "/" + round_trip));
          if (!options.json) print(rows.back());
        }
      }
    }
  }
  if (options.json) fmt::print("{}\n", rows.dump(2));
  if (svg) svg->write([&](trainer::OutputFile& file) { file.write(plot(rows, options)); });
  return kSuccess;
}

}  // namespace

Run declare_bench_overlap(const CommandLine& line) {
  auto options = std::make_shared<BenchOverlapOptions>();
  line.option("config", options->config, "The job; examples/pretrain.toml if not given")
      .check(existing_file());
  line.option("--rate", options->rates, "Links by rate each way, 20mbit");
  line.option("--rtt", options->round_trips, "Round trips, 40ms");
  line.option("--workers", options->workers, "Numbers of workers").check(whole_number(1));
  line.option("--backend", options->backend, "threads or mpi; the config's if not given");
  line.option("--set", options->overrides, "section.key=value, over the file").once_each();
  line.option("--svg", options->svg, "Write a plot to this file");
  line.flag("--json", options->json, "A list of rows on standard output");
  return [options] { return bench_overlap(*options); };
}

}  // namespace thinwire::launch

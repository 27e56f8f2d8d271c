#include "trainer/worker.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <utility>

#include "quant/codec/codec.h"
#include "trainer/agreement.h"
#include "trainer/checkpoint.h"
#include "trainer/data/batches.h"
#include "trainer/evaluate.h"
#include "trainer/fault_point.h"
#include "trainer/inner/inner_optimizer.h"
#include "trainer/meter.h"
#include "trainer/options_json.h"
#include "trainer/outer/outer_loop.h"
#include "trainer/precision.h"
#include "trainer/pulse.h"
#include "trainer/run_folder.h"
#include "trainer/run_log.h"
#include "trainer/task/task.h"

namespace thinwire::trainer {
namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{1} << 20;

class Worker {
 public:
  explicit Worker(const WorkerContext& context);
  RunResult run();

 private:
  void restore();
  void keep_own_config() const;
  void train_step(std::int64_t step);
  double forward_backward();
  bool read_pulses();
  void post_pulse(std::int64_t step);
  void write_metrics(const std::vector<nlohmann::json>& pulses);
  void evaluate(std::int64_t step);
  void checkpoint(std::int64_t step);
  nlohmann::json summarise();

  State state(std::int64_t step) const;
  void warn(const std::string& message) const;
  bool leads() const { return engine_.rank() == 0; }
  std::int64_t tokens_per_step() const;

  const WorkerContext context_;
  const Options& options_;
  comm::ProgressEngine& engine_;

  std::unique_ptr<RunLock> lock_;  // worker 0 holds the folder
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Batches> batches_;
  std::unique_ptr<Task> task_;
  std::vector<TrainedTensor> trained_;
  std::int64_t travelling_values_ = 0;
  std::unique_ptr<OuterLoop> outer_;
  std::unique_ptr<InnerOptimizer> optimizer_;
  CheckpointStore checkpoints_;
  std::unique_ptr<RunLog> log_;
  PulseBoard pulses_;

  std::int64_t start_step_ = 0;
  Meter meter_;
  double train_loss_ = 0;  // mean over workers of the last pulse read
  nlohmann::json evaluation_ = nlohmann::json::object();
};

Worker::Worker(const WorkerContext& context)
    : context_(context),
      options_(context_.options),
      engine_(*context.engine),
      checkpoints_(options_.run.dir, engine_.rank(), options_.checkpoint.keep),
      pulses_(engine_),
      meter_(engine_, tokens_per_step()) {
  at::set_num_threads(options_.run.threads);
  std::filesystem::create_directories(options_.run.dir);
  if (leads()) lock_ = std::make_unique<RunLock>(options_.run.dir);
  compare_configs(engine_, context_.config_toml);

  tokenizer_ = agree_on_tokenizer(engine_, options_, context_.resume);
  Options sized = options_;
  if (sized.model.vocab == 0) sized.model.vocab = tokenizer_->vocab_size();
  batches_ = make_batches(options_.data, *tokenizer_,
                          {.worker = engine_.rank(), .workers = engine_.size(), .seed = options_.run.seed},
                          options_.run.dir + "/cache");
  task_ = make_task(sized);
  trained_ = task_->trained();

  std::vector<TrainedTensor> travelling;
  std::copy_if(trained_.begin(), trained_.end(), std::back_inserter(travelling),
               [](const TrainedTensor& t) { return t.travels; });
  for (const TrainedTensor& t : travelling) travelling_values_ += t.tensor.numel();
  broadcast_calibration(engine_, *task_, *batches_, options_);
  outer_ = make_outer_loop({.options = options_.outer,
                            .seed = options_.run.seed,
                            .total_steps = options_.inner.steps,
                            .engine = &engine_},
                           std::move(travelling));
  optimizer_ = make_inner_optimizer(options_.inner, trained_);
  // Only now is it a run: after a setting or a path that was refused, the folder may be used again.
  if (leads()) write_file_atomically(options_.run.dir + "/config.toml", context_.config_toml);
}

RunResult Worker::run() {
  if (context_.resume) restore();
  if (start_step_ == 0 || outer_->agrees()) compare_agreed(engine_, *outer_, *task_, "at the start");
  keep_own_config();
  log_ = std::make_unique<RunLog>(options_.run.dir, leads(), options_.log.tensorboard,
                                  context_.resume ? start_step_ : -1);

  const std::int64_t steps = options_.inner.steps;
  for (std::int64_t step = start_step_ + 1; step <= steps; ++step) {
    train_step(step);
    for (const CommitRecord& record : outer_->take_commits()) log_->commit(record);
    step_fault_point(step, engine_.rank());
    if (options_.log.eval_every > 0 && step % options_.log.eval_every == 0 && step < steps) evaluate(step);
    bool stop = false;
    if (step % options_.log.every == 0) {
      stop = read_pulses();
      post_pulse(step);
    }
    if (stop || (options_.checkpoint.every > 0 && step % options_.checkpoint.every == 0 && step < steps)) {
      stop |= read_pulses();
      checkpoint(step);
    }
    if (stop && step < steps) return {.end = RunEnd::kStopped, .step = step, .summary = {}};
  }

  const auto last_step = comm::Clock::now();
  outer_->finish(steps);
  meter_.add_last_wait(seconds_since(last_step));
  for (const CommitRecord& record : outer_->take_commits()) log_->commit(record);
  if (outer_->agrees()) compare_agreed(engine_, *outer_, *task_, "at the end");
  read_pulses();
  checkpoint(steps);
  evaluate(steps);
  return {.end = RunEnd::kFinished, .step = steps, .summary = summarise()};
}

void Worker::train_step(std::int64_t step) {
  const auto begin = comm::Clock::now();
  task_->begin_step(quant::stream_key({.seed = options_.run.seed,
                                       .step = static_cast<std::uint64_t>(step),
                                       .worker = static_cast<std::uint32_t>(engine_.rank())}));
  optimizer_->zero_grad();
  for (std::int64_t part = 0; part < options_.inner.accumulate; ++part) meter_.add_loss(forward_backward());
  outer_->reduce_gradients(step);
  const double gradient_norm = clip_gradients(trained_, options_.inner.clip);
  optimizer_->step(learning_rate(options_.inner, step));
  task_->after_update();
  outer_->after_step(step);
  task_->after_update();
  meter_.end_step(seconds_since(begin), gradient_norm);
}

// A worker whose folder is not worker 0's, on a machine of its own, can be resumed from it as well. After a
// collective, so that a shared folder has worker 0's by now.
void Worker::keep_own_config() const {
  const std::string path = options_.run.dir + "/config.toml";
  if (leads()) return;
  const bool kept =
      std::filesystem::exists(path) && read_whole_file(path, kMaxConfigBytes) == context_.config_toml;
  if (kept) return;
  const std::string beside = fmt::format("{}.worker-{}", path, engine_.rank());
  write_file_atomically(beside, context_.config_toml);
  std::filesystem::rename(beside, path);
}

// One micro-batch; returns its share of the step's loss.
double Worker::forward_backward() {
  const Batch batch = batches_->next(options_.inner.batch / options_.inner.accumulate);
  at::Tensor loss;
  {
    const PrecisionScope precision(options_.inner.precision);
    loss = task_->loss(batch) / static_cast<double>(options_.inner.accumulate);
  }
  loss.backward();
  return loss.item<double>();
}

// Reads what the workers last posted, if it is still unread. True if one of them was asked, then, to stop.
bool Worker::read_pulses() {
  if (!pulses_.posted()) return false;
  const auto begin = comm::Clock::now();
  const std::vector<nlohmann::json> pulses = pulses_.read();
  meter_.add_pulse_wait(seconds_since(begin));
  write_metrics(pulses);
  return std::any_of(pulses.begin(), pulses.end(),
                     [](const nlohmann::json& p) { return p.at("stop").get<bool>(); });
}

void Worker::post_pulse(std::int64_t step) {
  pulses_.post(meter_.take_pulse(step, context_.stop_signal != nullptr && context_.stop_signal->load() != 0));
}

void Worker::write_metrics(const std::vector<nlohmann::json>& pulses) {
  nlohmann::json record = metrics_of(pulses, tokens_per_step());
  const std::int64_t step = record.at("step");
  train_loss_ = record.at("loss");
  if (!leads()) return;
  record["lr"] = learning_rate(options_.inner, step);
  log_->metrics(record);
  if (log_->take_failure())
    warn("the logs cannot be written (is the disk full?); the run goes on without them");
  if (!context_.on_progress) return;
  const double tokens_per_s = record.at("tokens_per_s");
  const auto tokens_left =
      static_cast<double>((options_.inner.steps - step) * tokens_per_step() * engine_.size());
  context_.on_progress({.step = step,
                        .total_steps = options_.inner.steps,
                        .loss = train_loss_,
                        .tokens_per_s = tokens_per_s,
                        .wire_bits_per_s = record.at("wire_bits_per_s"),
                        .seconds_left = tokens_left / tokens_per_s});
}

// Cross-entropy of the agreed copy with the held-out text. Each worker takes its share of the batches; the
// sums are added in the batches' order, so the figure does not depend on the number of workers.
void Worker::evaluate(std::int64_t step) {
  const std::vector<Batch> batches = batches_->held_out(options_.inner.batch);
  nlohmann::json mine = nlohmann::json::object();
  std::int64_t tokens = 0;
  outer_->with_agreed([&] {
    for (std::size_t i = 0; i < batches.size(); ++i) {
      tokens += (batches[i].targets >= 0).sum().item<std::int64_t>();
      if (i % static_cast<std::size_t>(engine_.size()) == static_cast<std::size_t>(engine_.rank()))
        mine[std::to_string(i)] = task_->evaluate(batches[i]);
    }
  });
  nlohmann::json sums = nlohmann::json::object();
  for (const nlohmann::json& part : gather_json(engine_, mine, "evaluation")) sums.update(part);
  double total = 0;
  for (std::size_t i = 0; i < batches.size(); ++i) total += sums.at(std::to_string(i)).get<double>();
  const Evaluation evaluation = evaluation_of(total, tokens, batches_->held_out_bytes_per_token());
  evaluation_ = {{"eval_loss", evaluation.loss}, {"eval_bits_per_byte", evaluation.bits_per_byte}};
  nlohmann::json record = evaluation_;
  record["step"] = step;
  log_->metrics(record);
}

void Worker::checkpoint(std::int64_t step) {
  std::string why;
  if (!checkpoints_.save(step, state(step), &why))
    warn(fmt::format(
        "no checkpoint at step {}: {}; the run goes on, older checkpoints are kept, the next one tries "
        "again",
        step, why));
}

State Worker::state(std::int64_t step) const {
  State state;
  for (const TrainedTensor& t : trained_) {
    state.tensors["live/" + t.name] = t.tensor.detach();
    state.tensors["agreed/" + t.name] = state.tensors["live/" + t.name];
  }
  for (const auto& [name, tensor] : outer_->agreed()) state.tensors["agreed/" + name] = tensor.detach();
  for (const auto& [name, tensor] : task_->frozen()) state.tensors["frozen/" + name] = tensor;
  state.add("optimizer", optimizer_->state());
  state.add("outer", outer_->state());
  state.add("data", batches_->state());
  state.meta["step"] = step;
  state.meta["workers"] = engine_.size();
  state.meta["travelling_values"] = travelling_values_;
  state.meta["meter"] = meter_.state(outer_->busy_seconds());
  state.meta["outer_digest"] = outer_->digest();
  describe_model(*task_, options_, state.meta);
  return state;
}

void Worker::restore() {
  start_step_ = newest_common_step(engine_, checkpoints_.whole_steps());
  if (start_step_ == 0) return;
  const State saved = checkpoints_.load(start_step_);
  if (const int workers = saved.meta.at("workers"); workers != engine_.size())
    throw std::invalid_argument(
        fmt::format("the checkpoint of step {} in {} is of {} workers, this world has {}; resume with -n {}",
                    start_step_, options_.run.dir, workers, engine_.size(), workers));
  {
    torch::NoGradGuard no_grad;
    for (TrainedTensor& t : trained_) t.tensor.copy_(saved.require("live/" + t.name, t.tensor));
    for (auto& [name, tensor] : task_->frozen()) tensor.copy_(saved.require("frozen/" + name, tensor));
  }
  optimizer_->load(saved.part("optimizer"));
  outer_->load(saved.part("outer"));
  batches_->load(saved.part("data"));
  meter_.load(saved.meta.at("meter"));
}

nlohmann::json Worker::summarise() {
  nlohmann::json summary = meter_.summary(outer_->busy_seconds());
  summary.update(evaluation_);
  summary["steps"] = options_.inner.steps;
  summary["tokens"] = options_.inner.steps * tokens_per_step() * engine_.size();
  summary["train_loss"] = train_loss_;
  summary["outer_digest"] = outer_->digest();
  summary["workers"] = engine_.size();
  summary["resumed_from"] = context_.resume ? nlohmann::json(start_step_) : nlohmann::json(nullptr);
  if (leads()) write_file_atomically(options_.run.dir + "/summary.json", summary.dump(2) + "\n");
  return summary;
}

void Worker::warn(const std::string& message) const {
  if (context_.on_warning) context_.on_warning(message);
}

std::int64_t Worker::tokens_per_step() const {
  return options_.inner.batch * options_.data.sequence;
}

}  // namespace

RunResult run_worker(const WorkerContext& context) {
  return Worker(context).run();
}

}  // namespace thinwire::trainer

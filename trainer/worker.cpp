#include "trainer/worker.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "quant/codec/codec.h"
#include "trainer/agreement.h"
#include "trainer/checkpoint.h"
#include "trainer/data/batches.h"
#include "trainer/data/tokenizer.h"
#include "trainer/evaluate.h"
#include "trainer/fault_point.h"
#include "trainer/finite.h"
#include "trainer/inner/inner_optimizer.h"
#include "trainer/meter.h"
#include "trainer/model_file.h"
#include "trainer/options/options.h"
#include "trainer/options_json.h"
#include "trainer/outer/outer_loop.h"
#include "trainer/precision.h"
#include "trainer/pulse.h"
#include "trainer/run_folder.h"
#include "trainer/run_log.h"
#include "trainer/run_removal.h"
#include "trainer/stop_watch.h"
#include "trainer/task/task.h"

namespace thinwire::trainer {
namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{1} << 20;

class Worker {
 public:
  explicit Worker(const WorkerContext& context);
  RunResult run();

 private:
  void find_resume_point();
  void prepare_text();
  void restore();
  void announce_learning_rate(double before) const;
  void begin_record();
  void make_room();
  void write_config() const;
  RunResult train();
  RunResult finish();
  void train_step(std::int64_t step);
  double forward_backward();
  bool is_skipped(std::int64_t step, double loss, double& gradient_norm);
  bool any_worker_has(const std::string& problem);
  std::string problem_of_loss(double loss) const;
  std::string problem_of_gradients(double norm) const;
  void skip_or_end(std::int64_t step, const std::string& problem) const;
  [[noreturn]] void end_with(std::int64_t step, const std::string& problem) const;
  void read_pulses();
  void post_pulse(std::int64_t step);
  void write_metrics(const std::vector<nlohmann::json>& pulses);
  void evaluate(std::int64_t step);
  void checkpoint(std::int64_t step);
  void note_common_checkpoint();
  void require_checkpoint(std::int64_t step);
  nlohmann::json summarise();

  State state(std::int64_t step) const;
  void note(const std::string& message) const;
  void warn(const std::string& message) const;
  bool leads() const { return engine_.rank() == 0; }
  std::int64_t tokens_per_step() const;

  const WorkerContext context_;
  Options options_;  // the context's, with the sizes that the model has settled
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
  PulseBoard holdings_;                            // which checkpoints each worker holds, since the last one
  std::optional<std::int64_t> common_checkpoint_;  // the newest that all are known to hold

  std::int64_t start_step_ = 0;
  Meter meter_;
  double train_loss_ = 0;           // mean over workers of the last pulse read
  std::string checkpoint_problem_;  // why the last one could not be written; empty if it was
  nlohmann::json evaluation_ = nlohmann::json::object();
  nlohmann::json saved_logs_;  // of the checkpoint that this process started from
};

Worker::Worker(const WorkerContext& context)
    : context_(context),
      options_(context_.options),
      engine_(*context.engine),
      checkpoints_(options_.run.dir, engine_.rank(), options_.checkpoint.keep),
      pulses_(engine_),
      holdings_(engine_),
      meter_(engine_, tokens_per_step()) {
  at::set_num_threads(options_.run.threads);
  std::filesystem::create_directories(options_.run.dir);
  if (leads()) lock_ = std::make_unique<RunLock>(options_.run.dir);
  compare_configs(engine_, context_.shared_config);
  if (context_.resume) find_resume_point();
  if (leads() && start_step_ > 0) require_stored_tokenizer(options_.run.dir, checkpoints_.meta(start_step_));

  prepare_text();
  Options sized = options_;
  if (sized.model.vocab == 0) sized.model.vocab = tokenizer_->vocab_size();
  // All that a base gave is in the checkpoint, which is a base itself.
  if (start_step_ > 0 && !sized.model.from.empty())
    sized.model.from = checkpoint_folder(options_.run.dir, start_step_, engine_.rank());
  task_ = make_task(sized);
  require_room_for(*tokenizer_, task_->model_options().vocab);
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
  // A base settles the sizes; the path to it stays as it was given.
  options_.model = task_->model_options();
  options_.model.from = context_.options.model.from;
}

// Text that differs between workers is found before anything is made of it.
void Worker::prepare_text() {
  const DataShard shard{engine_.rank(), engine_.size(), options_.run.seed};
  // One voice where all read the same.
  TextWatch watch;
  if (leads()) watch.on_notice = context_.on_notice;
  if (leads() || options_.data.shards == "by_source") watch.on_warning = context_.on_warning;

  std::vector<Source> sources = open_sources(options_.data, shard);
  while_all_wait(engine_, options_.comm.timeout_s, [&](std::stop_token stop) {
    read_sources(sources, accepted_text(options_.data, start_step_ > 0),
                 {watch.on_notice, watch.on_warning, stop});
  });
  compare_texts(engine_, sources);
  tokenizer_ = agree_on_tokenizer(engine_, options_, start_step_ > 0, watch);
  if (options_.model.vocab != 0) require_room_for(*tokenizer_, options_.model.vocab);
  while_all_wait(engine_, options_.comm.timeout_s, [&](std::stop_token stop) {
    batches_ = make_batches(options_.data, *tokenizer_, shard, sources, options_.run.dir + "/cache",
                            {watch.on_notice, watch.on_warning, stop});
  });
}

RunResult Worker::run() {
  if (start_step_ > 0) {
    restore();
  } else {
    compare_references(engine_, *task_, {});
  }
  if (start_step_ == 0 || outer_->agrees()) compare_agreed(engine_, *outer_, *task_, "at the start");
  begin_record();
  return train();
}

// Only now is it a run: after a setting or a path that was refused, the folder may be used again.
void Worker::begin_record() {
  if (context_.overwrite) make_room();
  if (leads() && !context_.launch_record.empty())
    write_file_atomically(options_.run.dir + "/launch.json", context_.launch_record);
  if (leads() && start_step_ == 0)
    write_file_atomically(options_.run.dir + "/tokenizer", tokenizer_->to_bytes());
  checkpoints_.drop_after(start_step_);
  write_config();
  log_ = std::make_unique<RunLog>(options_.run.dir, leads(), options_.log.tensorboard,
                                  context_.resume ? start_step_ : -1, saved_logs_);
  for (const std::string& lost : log_->lost()) warn(lost);
  if (!leads()) return;
  // What it says would be of an earlier end of the run.
  std::filesystem::remove(options_.run.dir + "/summary.json");
  const nlohmann::json record = {{"event", context_.resume ? "resume" : "start"},
                                 {"step", start_step_},
                                 {"workers", engine_.size()},
                                 {"changes", context_.changes}};
  if (!append_history(options_.run.dir, record)) warn("history.jsonl cannot be written");
}

// Worker 0's folder first; then those of workers that have one of their own, as the owner's name in them
// tells.
void Worker::make_room() {
  if (leads()) remove_run(options_.run.dir);
  const std::string owner = RunLock::owner(options_.run.dir);
  const std::vector<nlohmann::json> owners = gather_json(engine_, owner, "run folders");
  if (leads() || owner == owners.front()) return;
  const RunLock own(options_.run.dir);
  remove_run(options_.run.dir);
}

RunResult Worker::train() {
  if (context_.on_begin) context_.on_begin(start_step_);
  StopWatch stop(engine_, context_.stop_signal, start_step_ + 1);
  const std::int64_t steps = options_.inner.steps;
  for (std::int64_t step = start_step_ + 1; step <= steps; ++step) {
    train_step(step);
    for (const CommitRecord& record : outer_->take_commits()) log_->commit(record);
    if (holdings_.arrived()) note_common_checkpoint();
    step_fault_point(step, engine_.rank());
    if (step == steps) break;
    const bool stops = stop.ends_after(step);
    const bool is_logged = step % options_.log.every == 0;
    const bool is_evaluated = options_.log.eval_every > 0 && step % options_.log.eval_every == 0;
    const bool is_kept = stops || (options_.checkpoint.every > 0 && step % options_.checkpoint.every == 0);
    if (is_logged || is_evaluated || is_kept) read_pulses();
    if (is_logged) post_pulse(step);
    if (is_evaluated) evaluate(step);
    if (is_kept) {
      read_pulses();
      checkpoint(step);
    }
    if (!stops) continue;
    require_checkpoint(step);
    return {.end = RunEnd::kStopped, .step = step, .stop_signal = stop.signal(), .summary = {}};
  }
  stop.close(steps);
  return finish();
}

RunResult Worker::finish() {
  const std::int64_t steps = options_.inner.steps;
  const bool has_trained = start_step_ < steps;  // else a resume has found the run at its end
  if (has_trained) {
    if (steps % options_.log.every == 0) {
      read_pulses();
      post_pulse(steps);
    }
    const auto last_step = comm::Clock::now();
    std::vector<std::pair<std::string, at::Tensor>> parameters;
    for (const TrainedTensor& t : trained_) parameters.emplace_back(t.name, t.tensor);
    if (const auto problem = describe_nonfinite(parameters)) end_with(steps, *problem);
    outer_->finish(steps);
    task_->after_update();
    meter_.add_last_wait(seconds_since(last_step));
    for (const CommitRecord& record : outer_->take_commits()) log_->commit(record);
  }
  if (outer_->agrees()) compare_agreed(engine_, *outer_, *task_, "at the end");
  read_pulses();
  if (has_trained) {
    checkpoint(steps);
    require_checkpoint(steps);
  }
  evaluate(steps);
  return {.end = RunEnd::kFinished, .step = steps, .summary = summarise()};
}

// A worker whose folder is not worker 0's, on a machine of its own, can be resumed from it as well.
void Worker::write_config() const {
  const std::string path = options_.run.dir + "/config.toml";
  const std::string text = sealed(context_.to_toml ? context_.to_toml(options_) : context_.config_toml);
  if (leads()) write_file_atomically(path, text);
  engine_.barrier();  // a shared folder has worker 0's by now
  if (leads()) return;
  const bool kept = std::filesystem::exists(path) && read_whole_file(path, kMaxConfigBytes) == text;
  if (kept) return;
  const std::string beside = fmt::format("{}.worker-{}", path, engine_.rank());
  write_file_atomically(beside, text);
  std::filesystem::rename(beside, path);
}

void Worker::train_step(std::int64_t step) {
  const auto begin = comm::Clock::now();
  task_->begin_step(quant::stream_key({.seed = options_.run.seed,
                                       .step = static_cast<std::uint64_t>(step),
                                       .worker = static_cast<std::uint32_t>(engine_.rank())}));
  optimizer_->zero_grad();
  double loss = 0;
  for (std::int64_t part = 0; part < options_.inner.accumulate; ++part) loss += forward_backward();
  double gradient_norm = 0;
  const bool skipped = is_skipped(step, loss, gradient_norm);
  if (!skipped) {
    optimizer_->step(learning_rate(options_.inner, step));
    task_->after_update();
  }
  outer_->after_step(step);
  task_->after_update();
  const double seconds = seconds_since(begin);
  skipped ? meter_.end_skipped_step(seconds) : meter_.end_step(seconds, loss, gradient_norm);
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

// Judges a step by its loss and gradients, averages them where the method does, and clips them. True if the
// step is to leave everything as it was.
bool Worker::is_skipped(std::int64_t step, double loss, double& gradient_norm) {
  std::string problem = problem_of_loss(loss);
  if (outer_->reduces_gradients()) {
    // All workers skip it, or none: a mean with one bad gradient is a bad mean.
    if (options_.inner.skip_nonfinite > 0) {
      if (problem.empty()) problem = problem_of_gradients(clip_gradients(trained_, 0));
      if (any_worker_has(problem)) {
        skip_or_end(step, problem.empty() ? "another worker's loss or gradient is not finite" : problem);
        return true;
      }
    }
    if (!problem.empty()) end_with(step, problem);
    outer_->reduce_gradients(step);
  }
  if (problem.empty()) {
    gradient_norm = clip_gradients(trained_, options_.inner.clip);
    problem = problem_of_gradients(gradient_norm);
  }
  if (problem.empty()) return false;
  if (outer_->reduces_gradients()) end_with(step, problem);  // the mean itself: the residuals have moved
  skip_or_end(step, problem);
  return true;
}

bool Worker::any_worker_has(const std::string& problem) {
  const std::vector<nlohmann::json> all = gather_json(engine_, !problem.empty(), "steps to skip");
  return std::any_of(all.begin(), all.end(), [](const nlohmann::json& one) { return one.get<bool>(); });
}

std::string Worker::problem_of_loss(double loss) const {
  if (std::isfinite(loss)) return {};
  std::string problem = fmt::format("the loss is {}", std::isnan(loss) ? "NaN" : "infinite");
  std::vector<std::pair<std::string, at::Tensor>> parameters;
  for (const TrainedTensor& t : trained_) parameters.emplace_back(t.name, t.tensor);
  if (const auto parameter = describe_nonfinite(parameters)) problem += fmt::format(" ({})", *parameter);
  return problem;
}

std::string Worker::problem_of_gradients(double norm) const {
  if (std::isfinite(norm)) return {};
  std::vector<std::pair<std::string, at::Tensor>> gradients;
  for (const TrainedTensor& t : trained_)
    gradients.emplace_back("the gradient of " + t.name, t.tensor.grad());
  return describe_nonfinite(gradients).value_or("the norm of the gradient is beyond float32");
}

void Worker::skip_or_end(std::int64_t step, const std::string& problem) const {
  const std::int64_t before = meter_.skipped_in_a_row(), allowed = options_.inner.skip_nonfinite;
  if (before < allowed) return;
  end_with(step, allowed == 0 ? problem
                              : fmt::format("{}, after {} skipped steps in a row, which is all that "
                                            "inner.skip_nonfinite allows",
                                            problem, before));
}

void Worker::end_with(std::int64_t step, const std::string& problem) const {
  // Its numbers were finite, and no rate helps where the very first step fails.
  const bool had_diverged = start_step_ > 0 && step == start_step_ + 1;
  const std::string from =
      had_diverged ? fmt::format(
                         "the checkpoint of step {} had diverged already: remove "
                         "{}/checkpoints/step-{} on every host, then go on from the one before it",
                         start_step_, options_.run.dir, start_step_)
                   : "go on from the newest";
  throw std::runtime_error(
      fmt::format("at step {}: {}; the run ends and its checkpoints stay: {} with a lower rate or with "
                  "clipping (thinwire resume {} --set inner.lr=... --set inner.clip=1), or let such steps be "
                  "skipped (--set inner.skip_nonfinite=N)",
                  step, problem, from, options_.run.dir));
}

// Reads what the workers last posted, if it is still unread.
void Worker::read_pulses() {
  if (!pulses_.posted()) return;
  const auto begin = comm::Clock::now();
  const std::vector<nlohmann::json> pulses = pulses_.read();
  meter_.add_pulse_wait(seconds_since(begin));
  write_metrics(pulses);
}

void Worker::post_pulse(std::int64_t step) {
  nlohmann::json pulse = meter_.take_pulse(step);
  if (const auto clamped = task_->take_clamped_steps()) pulse["clamped_steps"] = *clamped;
  pulses_.post(pulse);
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
// sums are added in one order, so the figure does not depend on the number of workers.
void Worker::evaluate(std::int64_t step) {
  const EvaluationText text = batches_->held_out(options_.inner.batch);
  Tally tally{.groups = text.groups, .sums = {}, .targets = 0, .tokens = text.tokens, .bytes = text.bytes};
  outer_->with_agreed([&] {
    for (std::size_t i = 0; i < text.size; ++i) {
      const Batch batch = text.batch(i);
      tally.targets += batch.targets.numel();
      tally.sums.push_back(task_->evaluate(batch));
    }
  });
  const Evaluation evaluation = evaluation_of(gather_tallies(engine_, tally));
  evaluation_ = {{"eval_loss", evaluation.loss}, {"eval_bits_per_byte", evaluation.bits_per_byte}};
  nlohmann::json record = evaluation_;
  record["step"] = step;
  log_->metrics(record);
}

void Worker::checkpoint(std::int64_t step) {
  if (holdings_.posted()) note_common_checkpoint();
  if (common_checkpoint_) checkpoints_.prune(*common_checkpoint_);
  State now = state(step);
  now.meta["logs"] = log_->sync();
  if (const auto problem = describe_nonfinite({now.tensors.begin(), now.tensors.end()}))
    end_with(step, *problem + ", so no checkpoint is written");
  checkpoint_problem_.clear();
  if (!checkpoints_.save(step, now, &checkpoint_problem_))
    warn(fmt::format(
        "no checkpoint at step {}: {}; the run goes on, older checkpoints are kept, the next one tries "
        "again",
        step, checkpoint_problem_));
  holdings_.post({{"held", checkpoints_.held()}, {"problem", checkpoint_problem_}});
}

// Noted as soon as it is known, which is no matter of the step. Old checkpoints go with the next one, when
// all workers are at the same step.
void Worker::note_common_checkpoint() {
  common_checkpoint_ = newest_common_step(holdings_.read());
  if (common_checkpoint_) checkpoints_.note_on_all_workers(*common_checkpoint_);
}

// Of the checkpoint that was just written, with which the run ends: throws if a worker has none.
void Worker::require_checkpoint(std::int64_t step) {
  const std::vector<nlohmann::json> records = holdings_.read();
  const auto newest = newest_common_step(records);
  if (newest) checkpoints_.prune(*newest);
  for (std::size_t worker = 0; worker < records.size(); ++worker) {
    const std::string problem = records[worker].at("problem");
    if (problem.empty()) continue;
    throw std::runtime_error(fmt::format(
        "worker {} could not write the last checkpoint: {}. On disk, {}: free some room, then go on from "
        "there by "
        "thinwire resume {}",
        worker, problem,
        newest ? fmt::format("the newest checkpoint of all workers is of step {}, the steps to {} are lost",
                             *newest, step)
               : "there is no checkpoint that all workers have",
        options_.run.dir));
  }
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
  state.meta["finished"] = step == options_.inner.steps;
  state.meta["workers"] = engine_.size();
  state.meta["tokenizer"] = xxh3_128_hex(tokenizer_->to_bytes());
  state.meta["travelling_values"] = travelling_values_;
  state.meta["references"] = references_of(*task_);
  state.meta["next_lr"] = learning_rate(options_.inner, step + 1);
  state.meta["train_loss"] = train_loss_;
  state.meta["meter"] = meter_.state(outer_->busy_seconds());
  state.meta["outer_digest"] = outer_->digest();
  describe_model(*task_, options_, state.meta);
  return state;
}

void Worker::find_resume_point() {
  const ResumePoint point =
      agree_on_resume(engine_, options_.run.dir, checkpoints_.check(), context_.start_over);
  start_step_ = point.step;
  const std::int64_t steps = options_.inner.steps;
  if (leads() && !point.notice.empty()) note(point.notice);
  if (start_step_ == 0) {
    if (leads()) note("no checkpoint to go on from: begins at step 0");
    return;
  }
  // A checkpoint under way cannot become the last: its parameters are not synced.
  const bool is_end = checkpoints_.meta(start_step_).value("finished", false);
  if (steps < start_step_ || (steps == start_step_ && !is_end))
    throw std::invalid_argument(
        fmt::format("inner.steps: expected more than {}, the step of the checkpoint in {}, found {}",
                    start_step_ - (is_end ? 1 : 0), options_.run.dir, steps));
  if (const int workers = checkpoints_.meta(start_step_).at("workers"); workers != engine_.size())
    throw std::invalid_argument(
        fmt::format("the checkpoint of step {} in {} is of {} workers, this world has {}; resume with -n {}",
                    start_step_, options_.run.dir, workers, engine_.size(), workers));
  if (leads())
    note(start_step_ < steps
             ? fmt::format("goes on from step {} of {}", start_step_, steps)
             : fmt::format(
                   "step {} was the last: nothing is left to train (to add steps: --set inner.steps=...)",
                   steps));
}

void Worker::restore() {
  const State saved = checkpoints_.load(start_step_);
  compare_references(engine_, *task_, saved.meta.value("references", nlohmann::json::object()));
  {
    at::NoGradGuard no_grad;
    for (TrainedTensor& t : trained_) t.tensor.copy_(saved.require("live/" + t.name, t.tensor));
    for (auto& [name, tensor] : task_->frozen()) tensor.copy_(saved.require("frozen/" + name, tensor));
  }
  optimizer_->load(saved.part("optimizer"));
  outer_->load(saved.part("outer"));
  batches_->load(saved.part("data"));
  meter_.load(saved.meta.at("meter"));
  train_loss_ = saved.meta.at("train_loss");
  saved_logs_ = saved.meta.at("logs");
  announce_learning_rate(saved.meta.at("next_lr"));
}

void Worker::announce_learning_rate(double before) const {
  const double now = learning_rate(options_.inner, start_step_ + 1);
  if (!leads() || std::abs(now - before) <= 1e-6 * before) return;
  note(fmt::format(
      "the learning rate goes from {:.3g} to {:.3g}, since inner.steps (now {}), inner.lr, inner.warmup, "
      "inner.schedule or inner.final_lr is another; to go on at the old rate: --set inner.schedule=constant "
      "--set "
      "inner.lr={:.6g}",
      before, now, options_.inner.steps, before));
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
  if (leads()) write_file_atomically(options_.run.dir + "/summary.json", hashed_json(summary));
  return summary;
}

void Worker::note(const std::string& message) const {
  if (context_.on_notice) context_.on_notice(message);
}

void Worker::warn(const std::string& message) const {
  if (context_.on_warning) context_.on_warning(message);
}

std::int64_t Worker::tokens_per_step() const {
  return options_.inner.batch * options_.data.sequence;
}

}  // namespace

RunResult run_worker(const WorkerContext& context) {
  try {
    return Worker(context).run();
  } catch (const comm::CommError&) {
    throw;  // the peers know, or will find out the same way
  } catch (const std::exception& error) {
    const std::string what = error.what();
    context.engine->fail(what.substr(0, what.find('\n')));
    throw;
  }
}

}  // namespace thinwire::trainer

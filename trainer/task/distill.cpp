// A student with one-bit weights learns from a frozen teacher. The teacher is read only: it neither trains,
// nor travels, nor is it part of the student's checkpoints.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <stdexcept>

#include "quant/nn/sign_linear.h"
#include "trainer/model/language_model.h"
#include "trainer/model/layers_of.h"
#include "trainer/model_file.h"
#include "trainer/model_tensors.h"
#include "trainer/options/options.h"
#include "trainer/task/distill_loss.h"
#include "trainer/task/layer_pattern.h"
#include "trainer/task/model_task.h"
#include "trainer/task/started_model.h"
#include "trainer/task/task_kind.h"

namespace thinwire::trainer {
namespace {

template <typename Layer>
quant::LinearFactory one_bit_where_matched(const Options& options) {
  return [pattern = LayerPattern("distill.match", options.distill.match)](
             const std::string& name, std::int64_t in, std::int64_t out) -> std::shared_ptr<quant::Linear> {
    if (pattern.matches(name)) return std::make_shared<Layer>(in, out);
    return quant::make_float_linear(in, out);
  };
}

LoadedModel load_teacher(const Options& options) {
  if (options.task.teacher.empty())
    throw std::invalid_argument(
        "task.kind = distill learns from a model; set task.teacher to a run or checkpoint");
  return load_model(options.task.teacher);
}

class DistillTask final : public ModelTask {
 public:
  explicit DistillTask(const Options& options)
      : ModelTask(make_started_model(options, distill_layers(options))),
        options_(options.distill),
        teacher_path_(options.task.teacher),
        teacher_(load_teacher(options).model) {
    LayerPattern("distill.match", options_.match).require_match(model());
    check_fit(options);
    if (options_.hidden > 0) pairs_ = map_hidden_states(model().num_blocks(), teacher_->num_blocks());
  }

  std::string_view kind() const override { return "distill"; }

  // One-bit weights do not decay: their size sets the scale, not the sign, and decay would only shrink it.
  std::vector<TrainedTensor> trained() override {
    std::vector<TrainedTensor> tensors = ModelTask::trained();
    for (const auto& [path, layer] : layers_of<quant::SignLinear>(model())) {
      const auto is_its_weight = [&](const TrainedTensor& tensor) { return tensor.name == path + ".weight"; };
      std::find_if(tensors.begin(), tensors.end(), is_its_weight)->decays = false;
    }
    return tensors;
  }

  std::vector<Reference> references() const override {
    return {{"task.teacher", teacher_path_, digest_of_model(*teacher_)}};
  }

  at::Tensor loss(const Batch& batch) override {
    const bool want_hidden = options_.hidden > 0;
    const ModelOutput target = ask_teacher(batch, want_hidden);
    const ModelOutput output = model().forward(batch.tokens, want_hidden);
    at::Tensor total = logits_loss(output.logits, target.logits, options_.temperature) * options_.logits;
    if (want_hidden) total = total + hidden_loss(output.hidden, target.hidden, pairs_) * options_.hidden;
    if (options_.labels > 0)
      total = total + mean_cross_entropy(output.logits, batch.targets) * options_.labels;
    return total;
  }

 private:
  ModelOutput ask_teacher(const Batch& batch, bool want_hidden) {
    TORCH_INTERNAL_ASSERT(!teacher_->is_training());
    const at::NoGradGuard no_grad;
    return teacher_->forward(batch.tokens, want_hidden);
  }

  void check_fit(const Options& options) {
    const ModelOptions& student = model().options();
    const ModelOptions& teacher = teacher_->options();
    if (options_.temperature <= 0)
      throw std::invalid_argument(
          fmt::format("distill.temperature: expected > 0, found {}", options_.temperature));
    if (student.vocab != teacher.vocab)
      throw std::invalid_argument(
          fmt::format("task.teacher {} has a vocabulary of {} tokens, the student one of {}; with the "
                      "teacher's tokenizer set model.vocab = {}",
                      options.task.teacher, teacher.vocab, student.vocab, teacher.vocab));
    if (options_.hidden > 0 && (student.width != teacher.width || teacher.layers % student.layers != 0))
      throw std::invalid_argument(fmt::format(
          "distill.hidden compares states of equal width, with teacher layers a multiple of the student's; "
          "found width {} and {} layers for the student, {} and {} for the teacher; change the student or "
          "set distill.hidden = 0",
          student.width, student.layers, teacher.width, teacher.layers));
  }

  DistillOptions options_;
  std::string teacher_path_;
  std::shared_ptr<LanguageModel> teacher_;  // in evaluation mode
  std::vector<std::pair<std::size_t, std::size_t>> pairs_;
};

}  // namespace

quant::LinearFactory distill_layers(const Options& options) {
  return one_bit_where_matched<quant::SignLinear>(options);
}

quant::LinearFactory packed_distill_layers(const Options& options) {
  return one_bit_where_matched<quant::PackedSignLinear>(options);
}

std::unique_ptr<Task> make_distill_task(const Options& options) {
  return std::make_unique<DistillTask>(options);
}

}  // namespace thinwire::trainer

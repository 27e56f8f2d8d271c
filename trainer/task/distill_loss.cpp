#include "trainer/task/distill_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/mse_loss.h>
#include <ATen/ops/stack.h>

namespace thinwire::trainer {

at::Tensor logits_loss(const at::Tensor& student, const at::Tensor& teacher, double temperature) {
  const at::Tensor log_student = at::log_softmax(student / temperature, -1);
  const at::Tensor log_teacher = at::log_softmax(teacher.detach() / temperature, -1);
  const at::Tensor divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(-1);
  return divergence.mean() * (temperature * temperature);
}

std::vector<std::pair<std::size_t, std::size_t>> map_hidden_states(std::int64_t student_blocks,
                                                                   std::int64_t teacher_blocks) {
  TORCH_CHECK_VALUE(student_blocks > 0 && teacher_blocks % student_blocks == 0,
                    "hidden states map only if the teacher's ", teacher_blocks,
                    " blocks are a multiple of the student's ", student_blocks);
  const auto stride = static_cast<std::size_t>(teacher_blocks / student_blocks);
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
  for (std::size_t m = 0; m <= static_cast<std::size_t>(student_blocks); ++m)
    pairs.emplace_back(m, m * stride);
  return pairs;
}

at::Tensor hidden_loss(const std::vector<at::Tensor>& student, const std::vector<at::Tensor>& teacher,
                       const std::vector<std::pair<std::size_t, std::size_t>>& pairs) {
  std::vector<at::Tensor> losses;
  for (const auto& [m, n] : pairs) losses.push_back(at::mse_loss(student.at(m), teacher.at(n).detach()));
  return at::stack(losses).mean();
}

}  // namespace thinwire::trainer

// What a student learns from its teacher. Hinton et al., arXiv 1503.02531 (logits); FitNets, Romero et al.,
// arXiv 1412.6550 and TinyBERT, Jiao et al., arXiv 1909.10351 (hidden states and the map of layers). No
// function sends a gradient to what the teacher gave.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace thinwire::trainer {

// temperature^2 * mean over tokens of KL(teacher || student), each softmax(logits / temperature). The square
// keeps the gradient, temperature * (ps - pt) / tokens, of one size. logits: float [..., vocab].
at::Tensor logits_loss(const at::Tensor& student, const at::Tensor& teacher, double temperature);

// Pairs (student, teacher) of hidden states, 0 being the embedding: student state m learns from teacher state
// m * teacher_blocks / student_blocks, which must be whole.
std::vector<std::pair<std::size_t, std::size_t>> map_hidden_states(std::int64_t student_blocks,
                                                                   std::int64_t teacher_blocks);

// Mean over pairs of the mean squared difference. The states of a pair have equal shapes.
at::Tensor hidden_loss(const std::vector<at::Tensor>& student, const std::vector<at::Tensor>& teacher,
                       const std::vector<std::pair<std::size_t, std::size_t>>& pairs);

}  // namespace thinwire::trainer

// The words of the page, in English and Chinese.

const WORDS = {
  en: {
    other: '中文', api: 'API', loading: 'Asking the server for its models …', again: 'Try again',
    token: 'Token', token_note: 'This server asks for a token. It stays in the memory of this page only.', use_token: 'Use it',
    token_form: 'A token has printable characters of ASCII only.',
    model: 'Model', about: 'About this model', text: 'Text', second: 'Second text', second_maybe: 'Second text (only for models of pairs)',
    question: 'Question', context: 'Text that holds the answer', sentences: 'Sentences, one a line',
    send: 'Send', stop: 'Stop', hint: 'Ctrl + Enter sends', examples: 'Examples', result: 'Result', times: 'Times and tokens',
    curl: 'The same with curl', curl_note: 'The shell variable PROPELLER_AUTH_TOKEN is to hold the token, which is not shown here.',
    copy: 'Copy', copied: 'Copied.', not_copied: 'The browser does not let this page copy. The command is selected: copy it with Ctrl + C.',
    sending: 'Sending …', stopped: 'Stopped.', empty: 'Type something first.', no_models: 'This server has no model that this page can show.',
    classify: 'one class', multilabel: 'several classes', regression: 'a number', tag: 'entities', answer: 'answers', embed: 'vectors',
    labels_count: '{n} classes', at_most: 'reads at most {n} tokens', wide: 'vectors of {n} numbers',
    no_class: 'No class reaches 50 %.', threshold: 'Chosen are classes with at least 50 %.', all_classes: 'Show all {n} classes', few_classes: 'Show fewer', confidence: 'confidence',
    classes: 'Classes and their probabilities', value: 'Value', chosen: 'chosen',
    no_entities: 'No entities found.', entities_found: '{n} found: {names}.', entities: 'Entities', entity: 'entity', type: 'type', place: 'place',
    place_note: 'Places count characters, from 0; the end is the place behind the last one.',
    no_answer: 'The text holds no answer.', other_answers: 'Other answers (choose one to see it in the text)', none: 'no answer',
    nearest: 'nearest: {n}', nearest_status: '{n} sentences compared.', alone: 'A vector of {n} numbers. Give a second sentence, on a line of its own, to compare the two.',
    vector: 'It begins', matrix: 'Similarity', matrix_note: 'Cosine of the vectors, computed in this page: 1 is the same direction. Bold: the nearest of each row.',
    matrix_large: 'The table is left out for more than {n} sentences.',
    of_tokens: 'A vector for each token: this page compares vectors of whole sentences only.', of_tokens_size: '{n} vectors of {width} numbers',
    trip: 'round trip', queue: 'in the queue', tokenizing: 'tokenizing', inference: 'inference', tokens: 'tokens',
    cut: 'Longer than the model reads: a part of it was not looked at.',
    cut_most: 'Longer than the model reads ({n} tokens): a part of it was not looked at.',
    cut_some: 'Longer than the model reads: a part was not looked at of sentences {which}.',
    network: 'No answer from {address}. Is the server running, and can it be reached from here?',
    odd: 'The server answered in a form that this page does not know. Are the page and the server of one version?',
    retry: 'Try again in {seconds} s.',
    status_400: 'The server could not read the request.', status_401: 'This server asks for a token.',
    status_401_wrong: 'The server does not take this token.', status_404: 'The server does not have this model or route any more; load the page again.',
    status_413: 'That is more than the server takes.', status_422: 'The model cannot use this.',
    status_429: 'The server has too much to do at the moment.', status_500: 'Something went wrong in the server.',
    status_503: 'The server cannot compute at the moment.', status_504: 'The server did not finish in time.',
    status_other: 'The server answered with status {status}.',
  },
  zh: {
    other: 'English', api: 'API', loading: '正在询问服务器有哪些模型……', again: '重试',
    token: '令牌', token_note: '此服务器需要令牌。令牌只保存在本页的内存中。', use_token: '使用',
    token_form: '令牌只含可打印的 ASCII 字符。',
    model: '模型', about: '关于此模型', text: '文本', second: '第二段文本', second_maybe: '第二段文本（仅用于句对模型）',
    question: '问题', context: '包含答案的文本', sentences: '句子，每行一句',
    send: '发送', stop: '停止', hint: 'Ctrl + Enter 发送', examples: '示例', result: '结果', times: '用时与词元数',
    curl: '用 curl 发出同样的请求', curl_note: 'shell 变量 PROPELLER_AUTH_TOKEN 应保存令牌；此处不显示令牌。',
    copy: '复制', copied: '已复制。', not_copied: '浏览器不允许本页复制。命令已选中，请按 Ctrl + C 复制。',
    sending: '正在发送……', stopped: '已停止。', empty: '请先输入内容。', no_models: '此服务器没有本页可以展示的模型。',
    classify: '单标签分类', multilabel: '多标签分类', regression: '打分', tag: '实体', answer: '问答', embed: '向量',
    labels_count: '{n} 个类别', at_most: '最多读 {n} 个词元', wide: '{n} 维向量',
    no_class: '没有类别达到 50 %。', threshold: '概率不低于 50 % 的类别算作选中。', all_classes: '显示全部 {n} 个类别', few_classes: '收起', confidence: '置信度',
    classes: '类别及其概率', value: '数值', chosen: '选中',
    no_entities: '没有找到实体。', entities_found: '找到 {n} 个：{names}。', entities: '实体', entity: '实体', type: '类型', place: '位置',
    place_note: '位置以字符计，从 0 开始；终点是最后一个字符之后的位置。',
    no_answer: '文本中没有答案。', other_answers: '其他答案（点选后在文本中显示）', none: '没有答案',
    nearest: '最相近：{n}', nearest_status: '比较了 {n} 个句子。', alone: '一个 {n} 维向量。再写一行句子，即可比较。',
    vector: '开头几维', matrix: '相似度', matrix_note: '向量的余弦，由本页计算；1 表示方向相同。粗体：每行中最相近的一个。',
    matrix_large: '超过 {n} 个句子时不显示表格。',
    of_tokens: '每个词元一个向量：本页只比较整句的向量。', of_tokens_size: '{n} 个 {width} 维向量',
    trip: '往返', queue: '排队', tokenizing: '切词', inference: '推理', tokens: '词元数',
    cut: '文本超出模型能读的长度：有一部分没有被读到。',
    cut_most: '文本超出模型能读的长度（{n} 个词元）：有一部分没有被读到。',
    cut_some: '以下句子超出模型能读的长度，有一部分没有被读到：{which}。',
    network: '{address} 没有回应。服务器是否在运行？从这里能否访问？',
    odd: '服务器的回答不是本页认识的形式。页面和服务器的版本是否一致？',
    retry: '请在 {seconds} 秒后重试。',
    status_400: '服务器读不懂这个请求。', status_401: '此服务器需要令牌。',
    status_401_wrong: '服务器不接受这个令牌。', status_404: '服务器已没有这个模型或路径；请重新加载页面。',
    status_413: '超出了服务器的限制。', status_422: '模型不能使用这个输入。',
    status_429: '服务器现在太忙。', status_500: '服务器内部出错。',
    status_503: '服务器现在不能计算。', status_504: '服务器没有按时完成。',
    status_other: '服务器回答的状态是 {status}。',
  },
};

let language = navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';

/** The sentence of this name, with values in its {places}. */
export const say = (name, values = {}) => WORDS[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);

/** Put the words of the language into the page. */
export function translate() {
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  for (const place of document.querySelectorAll('[data-word]')) place.textContent = say(place.dataset.word);
  const button = document.getElementById('language');
  button.textContent = say('other');
  button.lang = language === 'zh' ? 'en' : 'zh';
}

export function otherLanguage() {
  language = language === 'zh' ? 'en' : 'zh';
  translate();
}

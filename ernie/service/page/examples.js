// What a visitor may try with one click, by the form that it fills.

const TEXTS = [
  '房间很干净，前台服务也热情，下次还会来。',
  '快递晚了三天，打电话也没人接，太失望了。',
  'The room was spotless and the staff went out of their way to help.',
  'Three days late, and nobody answers the phone.',
];

export const EXAMPLES = {
  text: TEXTS.map(text => ({ text })),
  pair: [
    { text: '怎么修改登录密码？', text_b: '忘记密码了，怎么重新设置？' },
    { text: '今天北京会下雨吗', text_b: '北京到上海的火车几点开' },
    { text: 'How do I change my password?', text_b: 'I forgot my password. How can I set a new one?' },
    { text: 'A man is playing the guitar.', text_b: 'Nobody is making music.' },
  ],
  tag: [
    { text: '联合国秘书长潘基文在纽约会见了清华大学校长。' },
    { text: '1978年10月，邓小平访问日本，在东京会见了福田赳夫首相。' },
    { text: 'Angela Merkel met Tim Cook of Apple in Berlin on Monday.' },
    { text: 'The University of Oxford and Siemens opened a laboratory in Munich.' },
  ],
  answer: [
    {
      question: '珠穆朗玛峰有多高？',
      context: '珠穆朗玛峰位于中国与尼泊尔边境，是世界最高峰。2020年12月8日，两国共同宣布其最新高程为8848.86米。1953年5月29日，希拉里和丹增首次登顶。',
    },
    {
      question: '谁首次登上了珠穆朗玛峰？',
      context: '珠穆朗玛峰位于中国与尼泊尔边境，是世界最高峰。2020年12月8日，两国共同宣布其最新高程为8848.86米。1953年5月29日，希拉里和丹增首次登顶。',
    },
    {
      question: 'How many countries does the Amazon rainforest cover?',
      context: 'The Amazon rainforest covers most of the Amazon basin of South America. The region includes territory of nine countries. The majority of the forest, 60%, is in Brazil, followed by Peru with 13%.',
    },
  ],
  embed: [
    { sentences: '我想退货\n怎么申请退款？\n今天天气真好\n外面阳光明媚\n你们几点关门' },
    { sentences: 'How can I get my money back?\nI would like to return this.\nThe weather is lovely today.\nIt is sunny outside.\nWhen do you close?' },
  ],
};
